//! Servers that refuse, or are to be refused, and what is said about it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings};
use toolbus_mesh::bus::{BucketSettings, Bus, Denied, Message, NotSent};

use crate::contract::{SOON, message, next};
use crate::server::{JETSTREAM, Server};

async fn refused(settings: Settings) -> String {
    let connected = tokio::time::timeout(Duration::from_secs(30), NatsBus::connect(settings)).await;
    match connected.expect("an answer in time") {
        Ok(bus) => panic!("{}", bus.describe()),
        Err(why) => why.to_string(),
    }
}

/// Something at a port that says one thing and then listens.
async fn says(text: &'static str) -> Settings {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(text.as_bytes()).await;
            tasks.spawn(async move {
                let mut bytes = [0; 1024];
                while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    Settings {
        servers: vec![address],
        ..Settings::default()
    }
}

#[tokio::test]
async fn what_is_no_server_for_us() {
    let why = refused(
        says("INFO {\"version\":\"2.9.25\",\"max_payload\":1048576,\"headers\":true}\r\n").await,
    )
    .await;
    assert!(
        why.contains("2.9.25") && why.contains("2.10 or later"),
        "{why}"
    );
    let why = refused(says("SSH-2.0-OpenSSH_9.2\r\n").await).await;
    assert!(
        why.contains("not what a NATS server says") && why.contains("SSH-2.0"),
        "{why}"
    );
    let why = refused(says("").await).await;
    assert!(why.contains("no answer within 5 s"), "{why}");
    let nobody = Settings {
        servers: vec!["127.0.0.1:1".into()],
        ..Settings::default()
    };
    let why = refused(nobody).await;
    assert!(
        why.contains("127.0.0.1:1") && why.contains("refused"),
        "{why}"
    );
    for servers in [vec![], vec!["ws://h".to_owned()], vec!["h:x".to_owned()]] {
        let settings = Settings {
            servers,
            ..Settings::default()
        };
        assert!(NatsBus::start(settings).is_err());
    }
    let settings = Settings {
        inbox_prefix: "a.*".into(),
        ..says("").await
    };
    assert!(NatsBus::start(settings).is_err());
}

#[tokio::test]
async fn a_server_that_is_away_does_not_matter() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let settings = Settings {
        servers: vec!["127.0.0.1:1".into(), server.address()],
        ..Settings::default()
    };
    let bus = NatsBus::connect(settings).await.expect("the other one");
    assert!(
        bus.describe().contains(&server.port.to_string()),
        "{}",
        bus.describe()
    );
    assert!(bus.version().starts_with("2."), "{}", bus.version());
}

#[tokio::test]
async fn a_token() {
    let Some(server) = Server::start("authorization { token: s3cr3t }").await else {
        return;
    };
    let with = |credentials| Settings {
        credentials,
        ..server.settings()
    };
    for credentials in [
        Credentials::None,
        Credentials::Token("other".into()),
        Credentials::User("a".into(), "s3cr3t".into()),
    ] {
        let why = refused(with(credentials)).await;
        assert!(
            why.contains("Authorization Violation") && why.contains("token"),
            "{why}"
        );
    }
    NatsBus::connect(with(Credentials::Token("s3cr3t".into())))
        .await
        .expect("the right token");
    let url = Settings {
        servers: vec![format!("nats://s3cr3t@127.0.0.1:{}", server.port)],
        ..Settings::default()
    };
    let bus = NatsBus::connect(url).await.expect("the token in the URL");
    assert!(!format!("{bus:?} {}", bus.describe()).contains("s3cr3t"));
}

#[tokio::test]
async fn a_user() {
    let Some(server) = Server::start("authorization { user: me, password: \"p@ss\" }").await else {
        return;
    };
    let with = |credentials| Settings {
        credentials,
        ..server.settings()
    };
    let why = refused(with(Credentials::User("me".into(), "other".into()))).await;
    assert!(why.contains("Authorization Violation"), "{why}");
    NatsBus::connect(with(Credentials::User("me".into(), "p@ss".into())))
        .await
        .expect("the right password");
    let url = Settings {
        servers: vec![format!("nats://me:p%40ss@127.0.0.1:{}", server.port)],
        ..Settings::default()
    };
    NatsBus::connect(url)
        .await
        .expect("the password in the URL");
}

#[tokio::test]
async fn without_jetstream() {
    let Some(server) = Server::start("").await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let bucket = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect_err("no JetStream");
    let objects = bus.objects("B").await.expect_err("no JetStream");
    let record = bus
        .append("R", "r.>", message("r.a", ""))
        .await
        .expect_err("no JetStream");
    for why in [bucket, objects, record] {
        let why = why.to_string();
        assert!(why.contains("no JetStream") && why.contains("-js"), "{why}");
    }
    // Calls need none.
    let mut messages = bus.subscribe("a", None, 1).await.expect("a subscription");
    bus.send(message("a", "")).expect("sent");
    next(&mut messages).await;
}

#[tokio::test]
async fn without_room() {
    let config = "jetstream { store_dir: \"{folder}/store\", max_file: 1M }";
    let Some(server) = Server::start(config).await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let why = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect_err("no room")
        .to_string();
    assert!(why.contains("no room") && why.contains("max_file"), "{why}");
}

#[tokio::test]
async fn a_smaller_server() {
    let Some(server) = Server::start("max_payload: 65536").await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    assert_eq!(bus.max_payload(), 65_536);
    assert_eq!(
        bus.send(message("a", vec![0; 65_537])),
        Err(NotSent::TooLarge(65_536))
    );
    bus.send(message("a", vec![0; 65_536])).expect("sent");
    bus.round_trip().await.expect("the server did not mind");
}

const PERMISSIONS: &str = r#"authorization {
  users: [{ user: me, password: me, permissions: {
    publish: { allow: ["fine.>", "$JS.API.STREAM.>"] }
    subscribe: { allow: ["fine.>", "group.a workers", "_INBOX.>"] }
  } }]
}
"#;

#[tokio::test]
async fn what_is_not_permitted_is_said() {
    let Some(server) = Server::start(&format!("{PERMISSIONS}{JETSTREAM}")).await else {
        return;
    };
    let settings = Settings {
        credentials: Credentials::User("me".into(), "me".into()),
        ..server.settings()
    };
    let bus = NatsBus::connect(settings).await.expect("connected");
    let mut denied = bus.denied();
    let mut fine = bus.subscribe("fine.a", None, 8).await.expect("permitted");
    bus.send(Message {
        reply: Some(bus.inbox()),
        ..message("secret.a", "")
    })
    .expect("it goes to the server");
    let said = tokio::time::timeout(SOON, denied.recv())
        .await
        .expect("in time");
    assert_eq!(
        said,
        Ok(Denied {
            is_publish: true,
            subject: "secret.a".into()
        })
    );
    for (subject, queue) in [
        ("secret.a", None),
        ("secret.>", Some("workers")),
        (">", None),
        ("group.a", None),
        ("group.a", Some("others")),
    ] {
        let why = bus
            .subscribe(subject, queue, 8)
            .await
            .expect_err(subject)
            .to_string();
        assert!(why.contains(subject) && why.contains("not permit"), "{why}");
        let said = tokio::time::timeout(SOON, denied.recv())
            .await
            .expect("in time")
            .expect("denied");
        assert_eq!((said.is_publish, said.subject.as_str()), (false, subject));
    }
    bus.subscribe("group.a", Some("workers"), 8)
        .await
        .expect("permitted with this group");
    let bucket = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect("permitted");
    let why = bucket
        .put("a", "b".into())
        .await
        .expect_err("not permitted")
        .to_string();
    assert!(
        why.contains("$KV.B.a") && why.contains("not permit"),
        "{why}"
    );
    bus.send(message("fine.a", "")).expect("sent");
    next(&mut fine).await;
}
