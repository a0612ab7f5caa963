//! A listener's bounds: what never ends is ended, and what is too much waits.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbus_doors::{Access, HttpDoor, Limits};
use toolbus_gateway::audit::Audit;
use toolbus_gateway::policy::Policy;
use toolbus_gateway::{Gateway, Key, Setup};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

struct Open {
    address: SocketAddr,
    closing: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn open(limits: Limits) -> Open {
    let setup = Setup {
        servers: Vec::new(),
        policy: Policy::open(),
        audit: Audit::none(),
        prefix: false,
        key: Key::new(&[7; 32]),
    };
    let door = HttpDoor::new(Gateway::open(setup), Access::new([], false), limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let (address, closing) = (
        listener.local_addr().expect("an address"),
        CancellationToken::new(),
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "the test waits for this very task"
    )]
    let served = tokio::spawn(door.serve(listener, closing.clone()));
    Open {
        address,
        closing,
        served,
    }
}

impl Open {
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        stream
    }

    async fn ask(&self, bytes: &[u8]) -> String {
        read(&mut self.send(bytes).await).await
    }
}

/// Everything until the other end closes.
async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("an end")
        .expect("read");
    String::from_utf8_lossy(&text).into_owned()
}

fn short() -> Limits {
    // Long enough for a request on a loaded machine, short enough to be waited for.
    let brief = Duration::from_secs(1);
    Limits {
        head_within: brief,
        body_within: brief,
        taken_within: brief,
        connections: 2,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_ended() {
    let open = open(short()).await;
    let mut stuck = open
        .send(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n")
        .await;
    let answer = read(&mut stuck).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    let mut silent = open.send(b"").await;
    assert_eq!(
        read(&mut silent).await,
        "",
        "a connection that says nothing is not kept either"
    );
    assert!(open.ask(HEALTH).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused() {
    let open = open(short()).await;
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let answer = open.ask(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("the body did not arrive in time"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let open = open(short()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    // What is not read has to wait at the other end, and there is soon more of it than its buffers hold.
    socket.set_recv_buffer_size(1).expect("a small buffer");
    let mut stream = socket.connect(open.address).await.expect("connected");
    let requests = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let asks = async { while stream.write_all(&requests).await.is_ok() {} };
    timeout(PATIENCE, asks).await.expect("cut off");
    assert!(open.ask(HEALTH).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let open = open(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let held = [open.send(b"").await, open.send(b"").await];
    // Both places are taken for as long as nothing is sent on them.
    let mut third = open.send(HEALTH).await;
    assert!(
        timeout(Duration::from_millis(300), third.read_u8())
            .await
            .is_err(),
        "no place yet"
    );
    drop(held);
    assert_eq!(
        timeout(PATIENCE, third.read_u8())
            .await
            .expect("a place")
            .expect("read"),
        b'H'
    );
}

#[tokio::test]
async fn who_asks_for_nothing_makes_room_for_who_does() {
    let open = open(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let _silent = open.send(b"").await;
    let _slow = open.send(b"POST /mcp HTTP/1.1\r\n").await;
    let begun = std::time::Instant::now();
    let answer = open.ask(HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Limits::default().head_within / 2);
}

#[tokio::test]
async fn who_is_answered_keeps_its_place() {
    let open = open(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    // The body of this one is on its way: it asks for something.
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 1\r\n\r\n";
    let mut busy = open.send(head.as_bytes()).await;
    let mut waiting = open.send(HEALTH).await;
    assert!(
        timeout(Duration::from_secs(2), waiting.read_u8())
            .await
            .is_err(),
        "no place yet"
    );
    busy.write_all(b"7").await.expect("sent");
    let answer = read(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(read(&mut waiting).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_closing_door_lets_open_connections_finish() {
    let open = open(Limits::default()).await;
    let mut idle = open.send(b"").await;
    open.closing.cancel();
    timeout(PATIENCE, open.served)
        .await
        .expect("an end")
        .expect("no panic")
        .expect("served");
    assert_eq!(read(&mut idle).await, "");
    assert!(
        TcpStream::connect(open.address).await.is_err(),
        "nobody listens any more"
    );
}
