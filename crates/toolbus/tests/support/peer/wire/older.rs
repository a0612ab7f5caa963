//! HTTP+SSE of 2024-11-05: one stream from the gateway, and a place to post to.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::SyncSender;
use std::thread;

use super::super::http::{self, Event};
use super::super::revision::Revision;
use super::follower::Follower;
use super::{Arrival, Origin, said};

/// HTTP+SSE of 2024-11-05: a stream from the gateway, and the place to POST to that its first event named.
pub struct Sse {
    address: SocketAddr,
    path: String,
    stream: TcpStream,
}

impl Sse {
    pub(super) fn open(address: SocketAddr, arrivals: SyncSender<Arrival>) -> Result<Self, String> {
        let stream = http::connect(address).map_err(said)?;
        let ours = stream.try_clone().map_err(said)?;
        let request = http::request("GET", "/sse", &[("accept", "text/event-stream")], b"");
        let mut reply = http::exchange(stream, &request).map_err(said)?;
        if reply.status != 200 || !reply.is_stream() {
            return Err(format!("GET /sse was answered with {}", reply.status));
        }
        let first = reply.event().map_err(said)?;
        let path = match first {
            Some(Event {
                name: Some(name),
                data: Some(path),
                ..
            }) if name == "endpoint" && path.starts_with('/') => path,
            first => return Err(format!("no endpoint first, but {first:?}")),
        };
        thread::spawn(move || {
            let mut follower = Follower::new(Origin::Shared, Revision::V2024_11_05, &arrivals);
            follower.follow(&mut reply);
        });
        Ok(Self {
            address,
            path,
            stream: ours,
        })
    }

    pub(super) fn post(&self, text: &str) -> Result<(), String> {
        let stream = http::connect(self.address).map_err(said)?;
        let headers = [("content-type", "application/json")];
        let request = http::request("POST", &self.path, &headers, text.as_bytes());
        let reply = http::exchange(stream, &request).map_err(said)?;
        match reply.status {
            202 => Ok(()),
            status => Err(format!("not accepted but answered with {status}: {text}")),
        }
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
