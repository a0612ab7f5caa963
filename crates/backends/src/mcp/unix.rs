//! A server at a Unix socket, in the framing of stdio. It runs by itself: where its connection ends, so does the server.

use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;
use toolbus_model::{Cause, Error};

use super::line_link::LineLink;
use super::news::News;

/// Connects to a server.
pub(super) async fn connect(
    path: &Path,
    news: &Arc<News>,
    tasks: &TaskTracker,
) -> Result<Arc<LineLink>, Error> {
    let shown: Arc<str> = path.display().to_string().into();
    let refused = |error: std::io::Error| {
        let cause = Cause {
            command: Some(Arc::clone(&shown)),
            remedy: Some("check that its process runs and listens there".to_owned()),
            ..Cause::new(format!("the server's socket does not answer: {error}"))
        };
        Error::Unavailable(cause.into())
    };
    let stream = UnixStream::connect(path).await.map_err(refused)?;
    let (input, output) = stream.into_split();
    let (link, letters) = LineLink::new(shown, "the connection is open", news);
    let writer = Arc::clone(&link);
    tasks.spawn(async move { writer.write_all(output, letters).await });
    let run = Arc::clone(&link);
    tasks.spawn(async move {
        let closed = || "the server closed its connection".to_owned();
        let what = run.read_all(input).await.unwrap_or_else(closed);
        // What the server has read of the bytes on their way is not known: of whole requests it may have read all.
        run.bury(what, "the connection is closed", 0);
    });
    Ok(link)
}
