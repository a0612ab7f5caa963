//! `toolbus stdio`: the gateway for one client on stdin and stdout.

use std::sync::Arc;

use super::{Failed, streams};
use crate::config::{Config, Source};
use crate::house::{self, House};
use crate::reload::Reload;

pub(super) async fn run(source: Source, mut config: Config) -> Result<(), Failed> {
    // Callers are told apart by tokens, which belong to HTTP. Whoever runs this command is the local caller.
    config.callers.clear();
    // Before anything is started that could say something.
    let taken = streams::take();
    let unusable =
        |error| Failed::NoOutcome(format!("standard input or output cannot be used: {error}"));
    let (input, output) = taken.map_err(unusable)?;
    let audit = house::audit(&config).map_err(Failed::Usage)?;
    let key = house::key(&config).map_err(Failed::Usage)?;
    let house = House::resume(&source, &config, audit, key).map_err(Failed::Usage)?;
    let house = Arc::new(house);
    let reload =
        Reload::start(source, config, Arc::clone(&house), None).map_err(Failed::NoOutcome)?;
    let served = toolbus_doors::stdio::serve(
        Arc::clone(&house.gateway),
        tokio::fs::File::from_std(input),
        tokio::fs::File::from_std(output),
    )
    .await;
    reload.stop().await;
    house.close().await;
    served.map_err(Failed::NoOutcome)
}
