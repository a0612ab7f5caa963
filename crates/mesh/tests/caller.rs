//! The gateway's side of the call protocol, row by row, against workers that speak raw frames.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;

use std::time::Duration;

use scripted::{Gateway, Offers, Running, Worker, request, text, tool};
use tokio::time::{Instant, sleep};
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::frame::{Control, Frame, KEEP_ALIVE, START_GRACE, START_WITHIN, Start};
use toolbus_model::{Error, EventKind, Outcome};

const START: Duration = START_WITHIN.saturating_add(START_GRACE);

#[tokio::test(start_paused = true)]
async fn a_tool_that_may_run_twice_is_asked_for_directly() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("add", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("add"));
    let asked = worker.asked().await;
    assert_eq!(asked.subject, "toolbus.v1.inst._.w1.math=2Eadd");
    assert_eq!((asked.ask.start, asked.ask.attempt), (Start::Direct, 1));
    assert_eq!(asked.ask.call, running.call.id);
    assert_eq!(
        (asked.ask.method.as_str(), asked.ask.name.as_deref()),
        ("tools/call", Some("add"))
    );
    assert_eq!(asked.ask.digest.as_ref().map(String::len), Some(16));
    assert_eq!(asked.body["params"]["arguments"]["a"], 1);
    assert!(
        asked
            .ask
            .caller
            .as_deref()
            .is_some_and(|jwt| jwt.ends_with('.'))
    );
    worker.end(&asked, "2");
    assert_eq!(text(&running.outcome().await), "2");
    assert!(worker.is_left_alone().await);
}

#[tokio::test(start_paused = true)]
async fn other_tools_wait_for_the_word_which_is_given_once() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    let asked = worker.asked().await;
    assert_eq!(asked.ask.start, Start::Claim);
    worker.say(&asked, Frame::Claim);
    worker.say(&asked, Frame::Claim);
    let told = worker.told().await;
    assert_eq!(
        (told.control, told.call, told.attempt),
        (Control::Go, asked.ask.call, 1)
    );
    assert!(worker.is_left_alone().await);
    worker.end(&asked, "paid");
    assert_eq!(text(&running.outcome().await), "paid");
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_a_sign_is_replaced_and_its_late_claim_refused() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("pay", false)]);
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    let begun = Instant::now();
    let running = Running::begin(&server, request("pay"));
    let (asked, slow, other) = tokio::select! {
        asked = a.asked() => (asked, &mut a, &mut b),
        asked = b.asked() => (asked, &mut b, &mut a),
    };
    let again = other.asked().await;
    assert!(begun.elapsed() >= START && begun.elapsed() < START + Duration::from_millis(100));
    assert_eq!((again.ask.attempt, again.ask.call), (2, asked.ask.call));
    let told = slow.told().await;
    assert_eq!((told.control, told.attempt), (Control::Cancel, 1));
    slow.say(&asked, Frame::Claim);
    assert_eq!(slow.told().await.control, Control::Cancel);
    slow.say(&asked, Frame::Claim);
    assert_eq!(slow.told().await.control, Control::Cancel);
    // What it says to that is the end of its claim, and not of the call.
    slow.say_with(&asked, Frame::Err, |reply| {
        let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Cancelled"}}"#;
        (reply.body, reply.error) = (body.into(), Some("cancelled".into()));
    });
    sleep(Duration::from_millis(1)).await;
    other.say(&again, Frame::Claim);
    let told = other.told().await;
    assert_eq!((told.control, told.attempt), (Control::Go, 2));
    other.end(&again, "once");
    assert_eq!(text(&running.outcome().await), "once");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_died_with_the_request_is_replaced_at_the_first_knock() {
    for may_run_twice in [false, true] {
        let hub = Hub::new();
        let offers = Offers::of(&[tool("pay", may_run_twice)]);
        let mut a = Worker::start(&hub, "a", &offers).await;
        let mut b = Worker::start(&hub, "b", &offers).await;
        let gateway = Gateway::open(&hub).await;
        let server = gateway.server("math", 2).await;
        let begun = Instant::now();
        let running = Running::begin(&server, request("pay"));
        let mut other = tokio::select! {
            _ = a.asked() => { drop(a); b }
            _ = b.asked() => { drop(b); a }
        };
        let again = other.asked().await;
        assert!(begun.elapsed() < Duration::from_millis(50));
        assert_eq!(again.ask.attempt, 2);
        if !may_run_twice {
            other.say(&again, Frame::Claim);
            assert_eq!(other.told().await.control, Control::Go);
        }
        other.end(&again, "once");
        assert_eq!(text(&running.outcome().await), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_no_sign_is_knocked_at_and_what_it_says_to_that_is_none() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let begun = Instant::now();
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    let asked = worker.asked().await;
    for after in [25, 100, 400] {
        let knock = worker.heard().await;
        assert_eq!((knock.control, knock.attempt), (Control::Credit(0), 1));
        assert_eq!(begun.elapsed().as_millis(), after);
        worker.decline(&knock);
    }
    assert_eq!(worker.asked().await.ask.attempt, 2);
    worker.say(&asked, Frame::Claim);
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn nobody_ever_gives_a_sign_and_the_tool_was_not_started() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    for attempt in 1..=4 {
        assert_eq!(worker.asked().await.ask.attempt, attempt);
    }
    let error = running.outcome().await.expect_err("nobody");
    assert!(matches!(&error, Error::Unavailable(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("math.pay was not started: workers were asked 4 times"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_busy_is_passed_over_at_once_and_all_busy_has_a_reason() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("pay", false)]);
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    let begun = Instant::now();
    let running = Running::begin(&server, request("pay"));
    for _ in 0..2 {
        tokio::select! {
            asked = a.asked() => a.refuse(&asked, Frame::Busy, "8 calls run"),
            asked = b.asked() => b.refuse(&asked, Frame::Busy, "8 calls run"),
        }
    }
    let Err(Error::Busy { what, retry_after }) = running.outcome().await else {
        panic!("not busy");
    };
    assert!(
        what.contains("8 calls run") && what.contains("no worker takes it"),
        "{what}"
    );
    assert_eq!(retry_after, Duration::from_millis(7));
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn what_came_too_late_is_asked_for_again() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    let asked = worker.asked().await;
    worker.refuse(&asked, Frame::Late, "too late");
    let asked = worker.asked().await;
    assert_eq!(asked.ask.attempt, 2);
    worker.say(&asked, Frame::Claim);
    assert_eq!(worker.told().await.control, Control::Go);
    worker.end(&asked, "now");
    assert_eq!(text(&running.outcome().await), "now");
}

#[tokio::test(start_paused = true)]
async fn without_anybody_it_is_said_within_half_a_second() {
    let hub = Hub::new();
    let worker = Worker::start(&hub, "w1", &Offers::of(&[tool("add", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    drop(worker);
    let begun = Instant::now();
    let error = Running::begin(&server, request("add"))
        .outcome()
        .await
        .expect_err("nobody");
    let (text, took) = (error.to_string(), begun.elapsed());
    assert!(matches!(error, Error::Unavailable(_)), "{text}");
    assert!(
        text.contains("nobody serves this tool (math.add): its last worker was w1"),
        "{text}"
    );
    assert!(
        (Duration::from_millis(250)..Duration::from_millis(500)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_passed_over_at_once() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("add", true)]);
    let gone: Vec<_> = [
        Worker::start(&hub, "a", &offers).await,
        Worker::start(&hub, "b", &offers).await,
    ]
    .into();
    let mut there = Worker::start(&hub, "c", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 3).await;
    drop(gone);
    for _ in 0..20 {
        let begun = Instant::now();
        let running = Running::begin(&server, request("add"));
        let asked = there.asked().await;
        there.end(&asked, "here");
        assert_eq!(text(&running.outcome().await), "here");
        assert!(begun.elapsed() < Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_who_comes_in_time_is_found() {
    let hub = Hub::new();
    let worker = Worker::start(&hub, "w1", &Offers::of(&[tool("add", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    drop(worker);
    let running = Running::begin(&server, request("add"));
    sleep(Duration::from_millis(100)).await;
    let mut late = Worker::silent(&hub, "w2").await;
    let asked = late.asked().await;
    assert_eq!(asked.subject, "toolbus.v1.tool._.math=2Eadd.invoke");
    late.end(&asked, "late");
    assert_eq!(text(&running.outcome().await), "late");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_leaves_an_unknown_outcome() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    let asked = worker.asked().await;
    worker.say(&asked, Frame::Claim);
    assert_eq!(worker.told().await.control, Control::Go);
    for _ in 0..5 {
        sleep(KEEP_ALIVE).await;
        worker.say(&asked, Frame::KeepAlive);
    }
    let begun = Instant::now();
    let call = running.call.id.to_string();
    let error = running.outcome().await.expect_err("unknown");
    assert!(begun.elapsed() <= KEEP_ALIVE * 3 + Duration::from_millis(100));
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
    assert!(
        error.to_string().contains(&call) && error.to_string().contains("worker w1"),
        "{error}"
    );
    assert_eq!(worker.told().await.control, Control::Cancel);
    assert!(worker.is_left_alone().await, "it was asked again");
}

#[tokio::test(start_paused = true)]
async fn what_may_run_twice_is_asked_for_again_when_its_worker_falls_silent() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("add", true)]);
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    let running = Running::begin(&server, request("add"));
    let (asked, first, other) = tokio::select! {
        asked = a.asked() => (asked, &mut a, &mut b),
        asked = b.asked() => (asked, &mut b, &mut a),
    };
    first.say(&asked, Frame::Ack);
    let again = other.asked().await;
    assert_eq!(again.ask.attempt, 2);
    // The first one was slow, not dead: its result is as good, and the other is told to stop.
    first.end(&asked, "first");
    assert_eq!(text(&running.outcome().await), "first");
    let told = other.told().await;
    assert_eq!((told.control, told.attempt), (Control::Cancel, 2));
}

#[tokio::test(start_paused = true)]
async fn a_go_that_a_worker_proves_not_to_have_taken_goes_to_another() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("pay", false)]);
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    let running = Running::begin(&server, request("pay"));
    let (asked, first, other) = tokio::select! {
        asked = a.asked() => (asked, &mut a, &mut b),
        asked = b.asked() => (asked, &mut b, &mut a),
    };
    first.say(&asked, Frame::Claim);
    let told = first.told().await;
    assert_eq!(told.control, Control::Go);
    first.decline(&told);
    let asked = other.asked().await;
    other.say(&asked, Frame::Claim);
    let told = other.told().await;
    assert_eq!((told.control, told.attempt), (Control::Go, 2));
    other.end(&asked, "other");
    assert_eq!(text(&running.outcome().await), "other");
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_calls_wait_and_new_ones_fail_at_once() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let running = Running::begin(&server, request("pay"));
    let asked = worker.asked().await;
    worker.say(&asked, Frame::Claim);
    assert_eq!(worker.told().await.control, Control::Go);
    gateway.bus.cut("the cable was pulled");
    sleep(Duration::from_secs(60)).await;
    let begun = Instant::now();
    let error = Running::begin(&server, request("pay"))
        .outcome()
        .await
        .expect_err("no connection");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(
        error.to_string().contains("the cable was pulled"),
        "{error}"
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    gateway.bus.restore();
    // Right after it nobody has missed anything yet.
    sleep(KEEP_ALIVE).await;
    worker.say(&asked, Frame::KeepAlive);
    sleep(KEEP_ALIVE * 2).await;
    worker.end(&asked, "after all");
    assert_eq!(text(&running.outcome().await), "after all");
    assert!(worker.is_left_alone().await);
}

#[tokio::test(start_paused = true)]
async fn a_go_that_cannot_be_sent_means_that_nothing_ran() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("pay"));
    let asked = worker.asked().await;
    worker.say(&asked, Frame::Claim);
    gateway.bus.cut("gone");
    let error = running.outcome().await.expect_err("not started");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    gateway.bus.restore();
    assert!(
        worker.is_left_alone().await,
        "nothing that was given up is sent later"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_stops_its_worker_and_waits_for_it() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("pay", false)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let running = Running::begin(&server, request("pay"));
    let asked = worker.asked().await;
    worker.say(&asked, Frame::Claim);
    assert_eq!(worker.told().await.control, Control::Go);
    running.call.cancel();
    assert_eq!(worker.told().await.control, Control::Cancel);
    sleep(Duration::from_secs(1)).await;
    worker.say(&asked, Frame::KeepAlive);
    worker.end(&asked, "stopped");
    assert_eq!(text(&running.outcome().await), "stopped");
    // One that does not stop is not waited for any longer than the gateway waits.
    let running = Running::begin(&server, request("pay"));
    let asked = worker.asked().await;
    worker.say(&asked, Frame::Claim);
    assert_eq!(worker.told().await.control, Control::Go);
    running.call.cancel();
    let begun = Instant::now();
    assert_eq!(running.outcome().await, Err(Error::Cancelled));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn notices_reach_the_caller_and_the_deadline_the_worker() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("add", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let mut running = Running::begin(&server, request("add"));
    let asked = worker.asked().await;
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}"#;
    worker.say_with(&asked, Frame::Msg, |reply| reply.body = notice.into());
    let event = running.end.events.recv().await.expect("a notice");
    assert_eq!(
        (event.kind, event.params.get("progress")),
        (EventKind::Progress, Some(&b"0.5"[..]))
    );
    worker.end(&asked, "done");
    assert_eq!(text(&running.outcome().await), "done");
    let running = Running::begin(&server, request("add"));
    assert_eq!(worker.asked().await.ask.deadline, None);
    running
        .call
        .ends_by(running.call.started + Duration::from_secs(9));
    // It is not answered, so that it is asked for again, with what is left by then.
    let again = worker.asked().await;
    assert_eq!(again.ask.deadline, Some(Duration::from_secs(9) - START));
    worker.end(&again, "done");
    assert_eq!(text(&running.outcome().await), "done");
}

#[tokio::test(start_paused = true)]
async fn a_question_of_a_worker_is_answered_at_that_worker() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("pay", false)]);
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    let running = Running::begin(&server, request("pay"));
    let (asked, holder, other) = tokio::select! {
        asked = a.asked() => (asked, &mut a, &mut b),
        asked = b.asked() => (asked, &mut b, &mut a),
    };
    holder.say(&asked, Frame::Claim);
    assert_eq!(holder.told().await.control, Control::Go);
    let question =
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"own"}}"#;
    holder.say_with(&asked, Frame::End, |reply| {
        reply.body = question.into();
        reply.holds = true;
    });
    let Ok(Outcome::InputRequired(question)) = running.outcome().await else {
        panic!("no question");
    };
    let state = question.raw("requestState").expect("a state");
    assert_eq!(
        state.as_str().as_deref(),
        Some(&*format!("{}:own", holder.id))
    );
    for _ in 0..5 {
        let mut retry = request("pay");
        let edit = toolbus_model::json::Edit::Put(state.bytes());
        retry.params = retry.params.edited(&[("requestState", edit)]);
        let running = Running::begin(&server, retry);
        let asked = holder.asked().await;
        assert_eq!(asked.body["params"]["requestState"], "own");
        holder.say(&asked, Frame::Claim);
        assert_eq!(holder.told().await.control, Control::Go);
        holder.end(&asked, "went on");
        assert_eq!(text(&running.outcome().await), "went on");
    }
    holder.leave().await;
    gateway.server("math", 1).await;
    let mut retry = request("pay");
    let edit = toolbus_model::json::Edit::Put(state.bytes());
    retry.params = retry.params.edited(&[("requestState", edit)]);
    let error = Running::begin(&server, retry)
        .outcome()
        .await
        .expect_err("lost");
    assert!(
        matches!(&error, Error::StateLost(why) if why.contains(&holder.id)),
        "{error}"
    );
    assert!(
        other.is_left_alone().await,
        "another worker was asked silently"
    );
}
