//! Servers that are taken out while they have calls, and servers that are away for a while.

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

/// A gateway with the server `a`, which then is said to be down.
async fn down(grace: Option<Duration>) -> (Fixture, Arc<Puppet>) {
    let puppet = Puppet::new();
    let settings = ServerSettings {
        grace,
        ..ServerSettings::default()
    };
    let server = Server::new(
        ServerName::parse("a").expect("a name"),
        puppet.clone(),
        settings,
    );
    let fixture = with(vec![Arc::new(server)]).await;
    puppet.is(Health::Down(Error::Unavailable(Box::default())));
    yielded().await;
    (fixture, puppet)
}

fn listed(fixture: &Fixture) -> usize {
    let page = fixture
        .gateway
        .list(&Scope::All, &Caller::local(), Shelf::Tools, None);
    page.expect("a page").entries.len()
}

#[tokio::test(start_paused = true)]
async fn what_is_down_stays_listed_for_a_grace_time_and_comes_back() {
    let (fixture, puppet) = down(Some(Duration::from_secs(600))).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(listed(&fixture), 4);
    // It is down for another reason: the time runs on.
    puppet.is(Health::Down(Error::Internal("again".to_owned())));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(listed(&fixture), 0);
    let names = fixture.gateway.names();
    assert_eq!(names.len(), 4, "its names are held");
    puppet.is(Health::Up);
    yielded().await;
    assert_eq!(listed(&fixture), 4);
    puppet.is(Health::Down(Error::Internal("once more".to_owned())));
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(listed(&fixture), 4, "the time begins anew");
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_time_entries_stay() {
    let (fixture, _puppet) = down(None).await;
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!(listed(&fixture), 4);
}

#[tokio::test]
async fn what_is_known_from_before_keeps_nobody_waiting() {
    let puppet = Puppet::new();
    puppet.is(Health::Starting);
    let gateway = |puppet: &Arc<Puppet>| {
        let name = ServerName::parse("a").expect("a name");
        Gateway::open(Setup {
            servers: vec![Server::new(name, puppet.clone(), ServerSettings::default())],
            policy: policy(),
            audit: Audit::none(),
            prefix: false,
            key: Key::new(&[0; 32]),
        })
    };
    assert!(!gateway(&puppet).is_settled());
    puppet.0.send_modify(|offer| {
        Arc::make_mut(offer).capabilities = Some(Object::empty());
    });
    assert!(gateway(&puppet).is_settled());
    puppet.is(Health::Resting);
    assert!(gateway(&puppet).is_settled());
}
