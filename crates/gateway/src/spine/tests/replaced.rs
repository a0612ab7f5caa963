//! Servers that are taken out while they have calls.

use super::*;
use crate::deadline::Deadlines;

/// A server whose calls have no limit of time, and how often it was stopped.
fn patient(name: &str) -> (Arc<Server>, Arc<Puppet>) {
    let settings = ServerSettings {
        deadlines: Deadlines {
            idle: None,
            total: None,
        },
        ..ServerSettings::default()
    };
    let puppet = Puppet::new();
    let name = ServerName::parse(name).expect("a name");
    (
        Arc::new(Server::new(name, puppet.clone(), settings)),
        puppet,
    )
}

async fn with(servers: Vec<Arc<Server>>) -> Fixture {
    let fixture = fixture(open_rules(), 8).await;
    fixture.gateway.replace(servers, policy(), false);
    fixture
}

fn policy() -> Policy {
    Policy::new([(Caller::local(), open_rules())])
}

async fn yielded() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_is_stopped_when_its_last_call_has_ended() {
    let (server, puppet) = patient("a");
    let fixture = with(vec![server]).await;
    let hanging = fixture.start("hang");
    yielded().await;
    let (other, other_puppet) = patient("a");
    fixture.gateway.replace(vec![other], policy(), false);
    assert!(fixture.ask("ok").await.is_ok(), "the other one serves");
    yielded().await;
    assert_eq!((puppet.stops(), other_puppet.stops()), (0, 0));
    drop(hanging);
    yielded().await;
    assert_eq!((puppet.stops(), other_puppet.stops()), (1, 0));
    fixture.gateway.close().await;
    assert_eq!((puppet.stops(), other_puppet.stops()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_limit_does_not_keep_its_server_for_ever() {
    let (server, puppet) = patient("a");
    let fixture = with(vec![server]).await;
    let _hanging = fixture.start("hang");
    yielded().await;
    fixture.gateway.replace(Vec::new(), policy(), false);
    tokio::time::sleep(Duration::from_secs(23 * 60 * 60)).await;
    assert_eq!(puppet.stops(), 0);
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!(puppet.stops(), 1);
}

#[tokio::test]
async fn a_server_under_other_settings_is_not_stopped() {
    let (server, puppet) = patient("a");
    let fixture = with(vec![server]).await;
    let settings = ServerSettings {
        in_flight: 1,
        ..ServerSettings::default()
    };
    let name = ServerName::parse("a").expect("a name");
    let adjusted = Arc::new(Server::new(name, puppet.clone(), settings));
    fixture.gateway.replace(vec![adjusted], policy(), false);
    yielded().await;
    assert_eq!(puppet.stops(), 0);
    let _hanging = fixture.start("hang");
    yielded().await;
    let refusal = fixture.ask("ok").await.expect_err("busy");
    assert!(matches!(refusal, Error::Busy { .. }), "{refusal}");
}

#[tokio::test]
async fn closing_stops_also_what_was_taken_out() {
    let (server, puppet) = patient("a");
    let fixture = with(vec![server]).await;
    let _hanging = fixture.start("hang");
    yielded().await;
    fixture.gateway.replace(Vec::new(), policy(), false);
    fixture.gateway.close().await;
    assert_eq!(puppet.stops(), 1);
    assert_eq!(fixture.outcomes().await, ["cancelled"]);
}
