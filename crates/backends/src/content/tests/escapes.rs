//! Ways out of a folder, none of which leads anywhere.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const SECRET: &str = "nobody may read this";

/// A folder `docs` with everything in it that could lead out, beside a secret.
fn trapped() -> TempDir {
    let base = tempfile::tempdir().expect("a folder");
    write(base.path(), "secret.txt", SECRET);
    write(base.path(), "docs-other/secret.txt", SECRET);
    let docs = base.path().join("docs");
    write(&docs, "inside.md", "fine");
    write(&docs, "sub/deep.md", "fine");
    write(&docs, "%2e%2e/x.md", "fine");
    write(&docs, ".hidden", SECRET);
    write(&docs, ".git/config", SECRET);
    let link = |to: &str, name: &str| symlink(to, docs.join(name)).expect("a link");
    link("../secret.txt", "link");
    link("..", "up");
    link("/etc/passwd", "absolute");
    link("/proc/self", "proc");
    link("inside.md", "within");
    link("turning", "turning");
    mknodat(
        CWD,
        docs.join("pipe"),
        FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .expect("a pipe");
    drop(UnixListener::bind(docs.join("socket")).expect("a socket"));
    base
}

#[tokio::test]
async fn no_uri_leads_out_of_a_folder() {
    let base = trapped();
    let content = Content::around("files", docs(&base.path().join("docs")), None);
    let offer = offered(&content, |_| true).await;
    assert_eq!(
        keys(&offer.resources),
        [
            "docs://%252e%252e/x.md",
            "docs://inside.md",
            "docs://sub/deep.md"
        ]
    );
    for uri in keys(&offer.resources) {
        assert_eq!(text(&content, uri).await, "fine");
    }
    let long = format!("docs://{}x", "a/".repeat(3_000));
    let ways = [
        // Up, plainly.
        "docs://../secret.txt",
        "docs://sub/../../secret.txt",
        "docs://./../secret.txt",
        "docs://sub//../../secret.txt",
        "docs://inside.md/../../secret.txt",
        "docs://../docs/inside.md",
        "docs://../docs-other/secret.txt",
        // Absolute.
        "docs:///etc/passwd",
        "docs:////etc/passwd",
        "docs://file:///etc/passwd",
        "docs://~/secret.txt",
        // Encoded once, twice, and in ways that no encoder writes.
        "docs://%2e%2e/secret.txt",
        "docs://%2E%2E/secret.txt",
        "docs://%252e%252e/secret.txt",
        "docs://sub/%2e%2e/%2e%2e/secret.txt",
        "docs://..%2fsecret.txt",
        "docs://..%2Fsecret.txt",
        "docs://%2e%2e%2fsecret.txt",
        "docs://%2Fetc%2Fpasswd",
        "docs://%C0%AE%C0%AE/secret.txt",
        "docs://%u002e%u002e/secret.txt",
        // Another spelling of what is there: a rule about the one would not know the other.
        "docs://%73ub/deep.md",
        "docs://sub%2Fdeep.md",
        "DOCS://inside.md",
        "docs://inside.md?x",
        "docs://inside.md#x",
        // Backslashes, zero bytes, line ends.
        "docs://..\\secret.txt",
        "docs://..%5Csecret.txt",
        "docs://inside.md\0",
        "docs://inside.md%00",
        "docs://inside.md%00/../../secret.txt",
        "docs://inside.md%0A",
        // Characters that look like dots and slashes.
        "docs://\u{2024}\u{2024}/secret.txt",
        "docs://%E2%80%A4%E2%80%A4/secret.txt",
        "docs://%EF%BC%8E%EF%BC%8E/secret.txt",
        "docs://sub%E2%88%95..%E2%88%95..%E2%88%95secret.txt",
        "docs://%E2%80%A5/secret.txt",
        // Links, whose target does not matter.
        "docs://link",
        "docs://up/secret.txt",
        "docs://up/docs/inside.md",
        "docs://absolute",
        "docs://proc/environ",
        "docs://proc/cwd/Cargo.toml",
        "docs://within",
        "docs://turning",
        // What is no file, and what is hidden.
        "docs://pipe",
        "docs://socket",
        "docs://sub",
        "docs://",
        "docs://.",
        "docs://.hidden",
        "docs://.git/config",
        &long,
    ];
    assert!(ways.len() >= 30);
    for uri in ways {
        let refused = read(&content, uri).await;
        let wanted = Error::Unknown {
            kind: Kind::Resource,
            name: uri.to_owned(),
        };
        assert_eq!(refused, Err(wanted), "{uri}");
    }
}

/// Puts a link in place of a file and of a folder, again and again, while both are read.
fn swap(docs: &Path, until: &AtomicBool) -> usize {
    let mut swaps = 0;
    while !until.load(Ordering::Relaxed) {
        symlink("../secret.txt", docs.join("new-link")).expect("a link");
        std::fs::rename(docs.join("new-link"), docs.join("file.txt")).expect("in place");
        std::fs::rename(docs.join("folder"), docs.join("away")).expect("away");
        symlink("../docs-other", docs.join("folder")).expect("a link");
        write(docs, "new-file", "fine");
        std::fs::rename(docs.join("new-file"), docs.join("file.txt")).expect("in place");
        std::fs::remove_file(docs.join("folder")).expect("removed");
        std::fs::rename(docs.join("away"), docs.join("folder")).expect("back");
        swaps += 1;
    }
    swaps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_takes_a_files_place_is_never_followed() {
    let base = trapped();
    let docs_folder = base.path().join("docs");
    write(&docs_folder, "file.txt", "fine");
    write(&docs_folder, "folder/secret.txt", "fine");
    let content = Content::around("files", docs(&docs_folder), None);
    let ended = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (folder, ended) = (docs_folder.clone(), Arc::clone(&ended));
        std::thread::spawn(move || swap(&folder, &ended))
    };
    let (mut fine, mut refused) = (0, 0);
    let begun = std::time::Instant::now();
    // Until both were seen often: how fast the two threads take turns is the machine's business.
    while (fine < 100 || refused < 100) && begun.elapsed() < PATIENCE {
        for uri in ["docs://file.txt", "docs://folder/secret.txt"] {
            match read(&content, uri).await {
                Ok(read) => {
                    assert_eq!(read["text"], "fine");
                    fine += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    ended.store(true, Ordering::Relaxed);
    let swaps = swapper.join().expect("it ends");
    assert!(
        fine > 0 && refused > 0 && swaps > 0,
        "{fine} {refused} {swaps}"
    );
}
