//! A process that is started again when it has ended, as a supervisor of services does it.

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(20);

/// A process that is kept running for as long as this is held.
pub(crate) struct Supervised {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    pub(crate) fn start(mut command: Command) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut child = command.spawn().expect("it starts");
                while !has_ended(&mut child) {
                    if stopped.load(Ordering::Relaxed) {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                    std::thread::sleep(LOOK);
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().expect("a child").is_some()
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
