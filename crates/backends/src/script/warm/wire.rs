//! Messages to and from processes of `toolbus.warm`: a length, JSON, and with it descriptors.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The most bytes of a message that we take: what is said to us is a few words, or the end of an error.
const MOST: usize = 64 * 1024;

/// Descriptors with one message: stdin, stdout, stderr, and the side channel.
const MOST_FDS: usize = 4;

/// Our end of a socket to such a process.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Arc<UnixStream>,
    /// What has arrived and was not taken yet.
    arrived: BytesMut,
}

impl Wire {
    pub(super) fn new(end: std::os::unix::net::UnixStream) -> io::Result<Self> {
        end.set_nonblocking(true)?;
        Ok(Self {
            stream: Arc::new(UnixStream::from_std(end)?),
            arrived: BytesMut::new(),
        })
    }

    /// The same end, for one who only sends.
    pub(super) fn sender(&self) -> Self {
        Self {
            stream: Arc::clone(&self.stream),
            arrived: BytesMut::new(),
        }
    }

    /// Says a message, with these descriptors.
    pub(super) async fn send(
        &self,
        message: &impl Serialize,
        mut fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let data = [&length.to_le_bytes(), &*body].concat();
        let mut rest = &*data;
        while !rest.is_empty() {
            let write = || write(&self.stream, rest, fds);
            let count = self.stream.async_io(Interest::WRITABLE, write).await?;
            rest = &rest[count..];
            // They go along with the first byte.
            fds = &[];
        }
        Ok(())
    }

    /// The next message; nothing once the other end is gone. What has arrived is kept when the future is dropped.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(length) = self.arrived.first_chunk() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > MOST {
                    let why = format!("a message of {length} bytes; at most {MOST} are taken");
                    return Err(io::Error::other(why));
                }
                if let Some(body) = self.arrived.get(4..4 + length) {
                    let message = serde_json::from_slice(body)?;
                    self.arrived.advance(4 + length);
                    return Ok(Some(message));
                }
            }
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.arrived) {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

/// One write, which takes the descriptors along.
fn write(to: &UnixStream, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let data = [IoSlice::new(data)];
    Ok(sendmsg(to, &data, &mut control, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_also_when_they_come_in_pieces() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (mut ours, theirs) = (
            Wire::new(ours).expect("a wire"),
            Wire::new(theirs).expect("a wire"),
        );
        theirs.send(&json!({"a": 1}), &[]).await.expect("sent");
        theirs
            .send(&json!({"b": "x".repeat(10_000)}), &[])
            .await
            .expect("sent");
        let first: Value = ours.receive().await.expect("read").expect("a message");
        let second: Value = ours.receive().await.expect("read").expect("a message");
        assert_eq!(
            (first["a"].as_u64(), second["b"].as_str().map(str::len)),
            (Some(1), Some(10_000))
        );
        drop(theirs);
        assert!(ours.receive::<Value>().await.expect("read").is_none());
    }

    #[tokio::test]
    async fn a_message_without_a_bound_is_refused() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (mut ours, theirs) = (
            Wire::new(ours).expect("a wire"),
            Wire::new(theirs).expect("a wire"),
        );
        theirs
            .send(&json!("x".repeat(MOST)), &[])
            .await
            .expect("sent");
        let error = ours.receive::<Value>().await.expect_err("too long");
        assert!(error.to_string().contains("at most 65536"), "{error}");
    }
}
