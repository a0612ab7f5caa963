//! The mesh of a configuration, as the gateway opens it.

use toolbus_mesh::caller::{Routing, Settings, SigningKey};

use super::mesh::{Joined, Opening};
use crate::broker::{self, Purpose};
use crate::config::{self, Config, Mesh};

/// Opens it, unless the configuration wants none.
pub(super) fn opening(config: &Config) -> Option<Opening> {
    if !broker::is_wanted(&config.mesh) {
        return None;
    }
    let mesh = config.mesh.clone();
    Some(Box::pin(async move {
        let (subjects, settings) = (mesh.subjects()?, settings(&mesh)?);
        let (bus, _) = broker::open(&mesh, Purpose::Gateway).await?;
        Ok(Joined {
            bus,
            subjects,
            settings,
        })
    }))
}

fn settings(mesh: &Mesh) -> Result<Settings, String> {
    let wrong = |error| format!("[mesh] caller_key: {error}");
    let key = mesh.caller_key.as_ref().map(|key| {
        let seed = key.reveal().map_err(wrong)?;
        SigningKey::parse(&seed).map_err(wrong)
    });
    Ok(Settings {
        routing: match mesh.routing {
            config::Routing::Load => Routing::Load,
            config::Routing::Queue => Routing::Queue,
        },
        grace: mesh.grace(),
        signing_key: key.transpose()?,
        ..Settings::default()
    })
}
