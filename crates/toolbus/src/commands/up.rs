//! `toolbus up`: the gateway over HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use toolbus_doors::HttpDoor;
use toolbus_model::Health;

use super::{Failed, streams};
use crate::config::{Config, Source};
use crate::descriptors;
use crate::house::{self, House};
use crate::published;
use crate::reload::Reload;
use crate::say;

/// How long servers may take to start before what is known is told anyway.
const TELL_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn run(source: Source, config: Config) -> Result<(), Failed> {
    let access = house::access(&config).map_err(Failed::Usage)?;
    let key = house::key(&config).map_err(Failed::Usage)?;
    let audit = house::audit(&config).map_err(Failed::Usage)?;
    let published = match config.audit.mesh {
        true => Some(house::audit_file(&config).map_err(Failed::Usage)?),
        false => None,
    };
    let listen = config.gateway.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let remedy =
            "stop what listens there, or set `listen` in [gateway] (port 0 takes a free one)";
        Failed::Usage(format!("cannot listen on {listen}: {error}; {remedy}"))
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failed::NoOutcome(error.to_string()))?;
    let house = House::resume(&source, &config, audit, key).map_err(Failed::Usage)?;
    let house = Arc::new(house);
    let gateway = Arc::clone(&house.gateway);
    let mut limits = house::limits(&config);
    limits.connections = descriptors::room_for(limits.connections);
    let door = HttpDoor::new(Arc::clone(&gateway), access, limits);
    door.serve_capabilities(house.capabilities(&config).map_err(Failed::Usage)?);
    house.share_farewells(&door);
    let closing = CancellationToken::new();
    let mut stop = Stop::new().map_err(Failed::NoOutcome)?;
    tracing::info!(config = %source, servers = config.servers.len(), callers = config.callers.len(), "toolbus {}", env!("CARGO_PKG_VERSION"));
    let needs_token = !config.callers.is_empty();
    let reload = Reload::start(source, config, Arc::clone(&house), Some(Arc::clone(&door)))
        .map_err(Failed::NoOutcome)?;
    let serving = door.serve(listener, closing.clone());
    say::out(format!("http://{address}/mcp"));
    streams::end_output().map_err(|error| Failed::NoOutcome(error.to_string()))?;
    let told = async {
        gateway.settled(TELL_WITHIN).await;
        tell(&gateway, address.port(), needs_token);
        std::future::pending::<()>().await;
    };
    let published = async {
        if let Some(file) = published {
            published::follow(file, house.mesh()).await;
        }
        std::future::pending::<()>().await;
    };
    let serving = async {
        tokio::select! {
            done = serving => done,
            () = told => Ok(()),
            () = published => Ok(()),
        }
    };
    tokio::pin!(serving);
    tokio::select! {
        done = &mut serving => return done.map_err(|error| Failed::NoOutcome(error.to_string())),
        name = stop.requested() => tracing::info!("{name}: finishing what is under way"),
    }
    closing.cancel();
    reload.stop().await;
    let closed = async {
        let _ = serving.await;
        house.close().await;
    };
    tokio::select! {
        () = closed => tracing::info!("stopped"),
        name = stop.requested() => tracing::warn!("{name} again: stopped at once"),
    }
    Ok(())
}

/// What there is, once the servers have answered.
fn tell(gateway: &toolbus_gateway::Gateway, port: u16, needs_token: bool) {
    for (name, offer) in gateway.offers() {
        match &offer.health {
            Health::Down(error) => tracing::warn!(server = %name, "down: {error}"),
            Health::Starting if offer.is_settled() => {
                tracing::info!(server = %name, "starting; its lists are those of the last run")
            }
            Health::Starting => tracing::warn!(server = %name, "still starting"),
            Health::Resting => {
                tracing::info!(server = %name, tools = offer.tools.len(), "starts on first use")
            }
            Health::Up => tracing::info!(
                server = %name,
                tools = offer.tools.len(),
                prompts = offer.prompts.len(),
                resources = offer.resources.len() + offer.templates.len(),
                revision = offer.revision.unwrap_or("unknown"),
                "up"
            ),
        }
    }
    let token = if needs_token {
        r#", "headers": {"Authorization": "Bearer <token>"}"#
    } else {
        ""
    };
    tracing::info!(
        r#"for a client's configuration: {{"mcpServers": {{"toolbus": {{"type": "http", "url": "http://127.0.0.1:{port}/mcp"{token}}}}}}}"#
    );
}

/// The signals that ask us to stop.
pub(super) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    pub(super) fn new() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
