//! `toolbus stdio`: the gateway for one client on stdin and stdout.

use super::Failed;
use crate::config::Config;
use crate::house;

pub(super) async fn run(mut config: Config) -> Result<(), Failed> {
    // Callers are told apart by tokens, which belong to HTTP. Whoever runs this command is the local caller.
    config.callers.clear();
    let audit = house::audit(&config).map_err(Failed::Usage)?;
    let gateway = house::open(&config, audit, house::key(&config).map_err(Failed::Usage)?)
        .map_err(Failed::Usage)?;
    let served = toolbus_doors::stdio::serve(
        std::sync::Arc::clone(&gateway),
        tokio::io::stdin(),
        tokio::io::stdout(),
    )
    .await;
    gateway.close().await;
    served.map_err(Failed::NoOutcome)
}
