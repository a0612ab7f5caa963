//! What kind of content a file has, by the end of its name.

/// Content that is text, and content that is not, whatever its bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

use Form::{Binary, Text};

/// Ends of names, in lower case, with their media types. A table of our own: the crates that know a thousand of them
/// guess at programs of the nineties, and say `video/mp2t` of TypeScript.
const KNOWN: &[(&str, &str, Form)] = &[
    ("md", "text/markdown", Text),
    ("markdown", "text/markdown", Text),
    ("txt", "text/plain", Text),
    ("text", "text/plain", Text),
    ("log", "text/plain", Text),
    ("rst", "text/x-rst", Text),
    ("adoc", "text/asciidoc", Text),
    ("csv", "text/csv", Text),
    ("tsv", "text/tab-separated-values", Text),
    ("html", "text/html", Text),
    ("htm", "text/html", Text),
    ("css", "text/css", Text),
    ("js", "text/javascript", Text),
    ("mjs", "text/javascript", Text),
    ("ts", "text/x-typescript", Text),
    ("tsx", "text/x-typescript", Text),
    ("py", "text/x-python", Text),
    ("pyi", "text/x-python", Text),
    ("rs", "text/x-rust", Text),
    ("go", "text/x-go", Text),
    ("c", "text/x-c", Text),
    ("h", "text/x-c", Text),
    ("cpp", "text/x-c++", Text),
    ("java", "text/x-java", Text),
    ("rb", "text/x-ruby", Text),
    ("sh", "text/x-shellscript", Text),
    ("sql", "application/sql", Text),
    ("json", "application/json", Text),
    ("jsonl", "application/jsonl", Text),
    ("ndjson", "application/x-ndjson", Text),
    ("ipynb", "application/x-ipynb+json", Text),
    ("yaml", "application/yaml", Text),
    ("yml", "application/yaml", Text),
    ("toml", "application/toml", Text),
    ("xml", "application/xml", Text),
    ("svg", "image/svg+xml", Text),
    ("ics", "text/calendar", Text),
    ("tex", "application/x-tex", Text),
    ("ini", "text/plain", Text),
    ("cfg", "text/plain", Text),
    ("png", "image/png", Binary),
    ("jpg", "image/jpeg", Binary),
    ("jpeg", "image/jpeg", Binary),
    ("gif", "image/gif", Binary),
    ("webp", "image/webp", Binary),
    ("avif", "image/avif", Binary),
    ("bmp", "image/bmp", Binary),
    ("ico", "image/x-icon", Binary),
    ("tif", "image/tiff", Binary),
    ("tiff", "image/tiff", Binary),
    ("mp3", "audio/mpeg", Binary),
    ("wav", "audio/wav", Binary),
    ("ogg", "audio/ogg", Binary),
    ("flac", "audio/flac", Binary),
    ("mp4", "video/mp4", Binary),
    ("webm", "video/webm", Binary),
    ("pdf", "application/pdf", Binary),
    ("zip", "application/zip", Binary),
    ("gz", "application/gzip", Binary),
    ("tar", "application/x-tar", Binary),
    ("zst", "application/zstd", Binary),
    ("wasm", "application/wasm", Binary),
    ("parquet", "application/vnd.apache.parquet", Binary),
    ("sqlite", "application/vnd.sqlite3", Binary),
    ("woff2", "font/woff2", Binary),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Binary,
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Binary,
    ),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Binary,
    ),
];

/// The media type of a file of this name, where the name tells it.
pub(super) fn of_name(name: &str) -> Option<(&'static str, Form)> {
    let (_, end) = name.rsplit_once('.')?;
    let known = KNOWN
        .iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(end));
    known.map(|(_, media_type, form)| (*media_type, *form))
}

/// The media type of a file, and its text where that is what it holds.
pub(super) fn of_content(name: &str, bytes: Vec<u8>) -> (&'static str, Result<String, Vec<u8>>) {
    let known = of_name(name);
    let content = match known {
        Some((_, Binary)) => Err(bytes),
        // A zero byte is valid UTF-8, and stands in no text.
        _ if bytes.contains(&0) => Err(bytes),
        _ => String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes),
    };
    let media_type = match (known, &content) {
        (Some((media_type, _)), _) => media_type,
        (None, Ok(_)) => "text/plain",
        (None, Err(_)) => "application/octet-stream",
    };
    (media_type, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_type_and_the_bytes_whether_it_is_text() {
        let kind = |name: &str, bytes: &[u8]| {
            let (media_type, content) = of_content(name, bytes.to_vec());
            (media_type, content.is_ok())
        };
        assert_eq!(kind("a.MD", b"# x"), ("text/markdown", true));
        assert_eq!(kind("a.md", b"\xff"), ("text/markdown", false));
        assert_eq!(kind("a.png", b"plain"), ("image/png", false));
        assert_eq!(kind("Makefile", b"all:"), ("text/plain", true));
        assert_eq!(
            kind("a.unknown", b"\xff\xfe"),
            ("application/octet-stream", false)
        );
        assert_eq!(kind("a.txt", b"a\0b"), ("text/plain", false));
        assert_eq!(of_name("no_end"), None);
    }

    #[test]
    fn no_end_stands_twice() {
        let mut ends: Vec<_> = KNOWN.iter().map(|(end, _, _)| end).collect();
        ends.sort_unstable();
        ends.dedup();
        assert_eq!(ends.len(), KNOWN.len());
    }
}
