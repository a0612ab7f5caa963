//! What becomes of calls and of the catalog when a server or a worker ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::task::TaskTracker;
use toolbus_mesh::worker::Settings;

use crate::puppet::{Puppet, tool};
use crate::scene::{call, harmless, mesh, remote, worker};
use crate::server::Server;

/// A server that comes back with nothing of what it had.
#[tokio::test]
async fn after_a_restart_of_the_server_it_is_there_again() {
    let Some(mut server) = Server::start_plain().await else {
        return;
    };
    let puppet = Puppet::with(vec![harmless("echo"), tool("sleep", "sleeps")]);
    let worker = worker(&server, &puppet, Settings::default()).await;
    for keep in [true, false] {
        server = server.restart(keep).await;
        // A gateway that knows nothing yet has only the catalog.
        let mesh = mesh(&server).await;
        let remote = remote(&mesh, 1).await;
        for tool in ["echo", "sleep"] {
            let result = call(&remote, tool, json!({"ms": 1})).await;
            result.expect("it is served again");
        }
        mesh.close().await;
    }
    worker.drain().await;
}

/// Callers without a pause while workers come and go, each with both modes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_nothing() {
    const CALLERS: usize = 32;
    const DRAINS: usize = 8;
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let puppet = Puppet::with(vec![harmless("echo"), tool("sleep", "sleeps")]);
    let first = worker(&server, &puppet, Settings::default()).await;
    let mut workers = vec![first, worker(&server, &puppet, Settings::default()).await];
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 2).await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let lost = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks = TaskTracker::new();
    for caller in 0..CALLERS {
        let (remote, stop, done, lost) = (
            Arc::clone(&remote),
            Arc::clone(&stop),
            Arc::clone(&done),
            Arc::clone(&lost),
        );
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let tool = if caller % 2 == 0 { "echo" } else { "sleep" };
                match call(&remote, tool, json!({"ms": caller % 7})).await {
                    Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        lost.lock().expect("no panic").push(error.to_string());
                        0
                    }
                };
            }
        });
    }
    for _ in 0..DRAINS {
        workers.push(worker(&server, &puppet, Settings::default()).await);
        let before = done.load(Ordering::Relaxed);
        workers.remove(0).drain().await;
        let until = Instant::now() + Duration::from_secs(30);
        while done.load(Ordering::Relaxed) < before + 500 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    tasks.close();
    tasks.wait().await;
    let lost = lost.lock().expect("no panic").clone();
    assert_eq!(lost, Vec::<String>::new());
    let done = done.load(Ordering::Relaxed);
    assert!(done >= 500 * DRAINS, "{done} calls were made");
    assert_eq!(puppet.runs(), done, "none ran twice");
    mesh.close().await;
    for worker in workers {
        worker.drain().await;
    }
}
