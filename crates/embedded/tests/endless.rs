//! Calls that do not end although nobody waits for them any more.

mod support;

use serde_json::json;
use support::{Begun, Module};
use toolbus_model::Error;

/// A call that has begun, as it says itself.
async fn begun(module: &Module, tool: &str) -> Begun {
    let begun = module.begin(tool, json!({}));
    module.eventually("begun", tool).await;
    begun
}

/// What a cancelled call says.
async fn cancelled(begun: Begun) -> Error {
    begun.end.cancel.cancel();
    begun.outcome().await.expect_err("an error")
}

/// It ended; on a busy machine perhaps not as soon as it could have.
fn ends(error: Error) {
    let is_over = matches!(error, Error::Cancelled | Error::OutcomeUnknown(_));
    assert!(is_over, "{error}");
}

const CODE: &str = r#"
import asyncio, threading, time
from toolbus import Cancelled, Context

last, ended = [""], []

async def begun() -> str:
    return last[0]

async def endings() -> str:
    return " ".join(sorted(ended))

def spin() -> None:
    last[0] = "spin"
    try:
        while True:
            pass
    except Cancelled:
        ended.append("spin")
        raise

def stubborn() -> None:
    last[0] = "stubborn"
    time.sleep(3600)

def stubborn_too() -> None:
    last[0] = "stubborn_too"
    time.sleep(3600)

def careful(ctx: Context) -> None:
    last[0] = "careful"
    while not ctx.cancelled:
        time.sleep(0.01)
    ended.append("careful")

async def patient() -> None:
    last[0] = "patient"
    try:
        await asyncio.sleep(3600)
    finally:
        ended.append("patient")

async def deaf() -> None:
    last[0] = "deaf"
    while "deaf" not in ended:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)

def quick() -> str:
    return "quick"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_coroutine_is_cancelled() {
    let module = Module::new(CODE);
    ends(cancelled(begun(&module, "patient").await).await);
    module.eventually("endings", "patient").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sees_that_its_caller_is_gone() {
    let module = Module::new(CODE);
    ends(cancelled(begun(&module, "careful").await).await);
    module.eventually("endings", "careful").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_spins_is_interrupted() {
    let module = Module::with(CODE, |mut settings| {
        settings.threads = 1;
        settings
    });
    ends(cancelled(begun(&module, "spin").await).await);
    module.eventually("endings", "spin").await;
    // Its only thread is free again.
    assert_eq!(module.text("quick", json!({})).await, "quick");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_do_not_come_back_are_replaced_up_to_a_bound() {
    let module = Module::with(CODE, |mut settings| {
        settings.threads = 2;
        settings
    });
    let stuck = [
        begun(&module, "stubborn").await,
        begun(&module, "stubborn_too").await,
    ];
    for error in give_up(stuck).await {
        assert!(
            error.to_string().contains("its thread is given up"),
            "{error}"
        );
    }
    assert_eq!(
        module.text("quick", json!({})).await,
        "quick",
        "others took their places"
    );
    let stuck = [
        begun(&module, "stubborn").await,
        begun(&module, "stubborn_too").await,
    ];
    give_up(stuck).await;
    let refused = module.call("quick", json!({})).await;
    let Err(Error::Unavailable(cause)) = refused else {
        panic!("not refused but {refused:?}");
    };
    assert!(
        cause
            .what
            .contains("4 threads are in calls that never ended"),
        "{cause}"
    );
    // What runs on the event loop is not held up.
    assert_eq!(module.text("begun", json!({})).await, "stubborn_too");
}

async fn give_up([one, other]: [Begun; 2]) -> [Error; 2] {
    let (one, other) = tokio::join!(cancelled(one), cancelled(other));
    [one, other]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coroutine_that_will_not_end_holds_up_nobody() {
    let module = Module::new(CODE);
    let deaf = begun(&module, "deaf").await;
    ends(cancelled(deaf).await);
    assert_eq!(module.text("begun", json!({})).await, "deaf");
    assert_eq!(module.text("quick", json!({})).await, "quick");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_gets_the_place_of_one_that_is_given_up() {
    let module = Module::with(CODE, |mut settings| {
        settings.threads = 1;
        settings
    });
    let stuck = begun(&module, "stubborn").await;
    let waits = module.begin("quick", json!({}));
    assert!(cancelled(stuck).await.to_string().contains("given up"));
    assert!(waits.outcome().await.is_ok());
}
