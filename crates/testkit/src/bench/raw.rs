//! NATS as it is: requests and replies without anything of ours, which the mesh is measured beside.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::load::{Load, Plan, run};
use super::serve::Failure;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends back every message of a subject, until the process ends.
pub async fn echo(url: &str, subject: String) -> Result<(), Failure> {
    let client = async_nats::connect(url).await?;
    let mut requests = client.subscribe(subject).await?;
    client.flush().await?;
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Ok(())
}

/// Sends this payload to a subject again and again, each caller once the last reply is there.
pub async fn load(url: &str, subject: String, payload: Bytes, plan: Plan) -> Result<Load, Failure> {
    let client = async_nats::ConnectOptions::new()
        .request_timeout(Some(PATIENCE))
        .connect(url)
        .await?;
    let call = move || ask(client.clone(), subject.clone(), payload.clone());
    Ok(run(plan, call).await)
}

async fn ask(client: Client, subject: String, payload: Bytes) -> Result<(), Failure> {
    let reply = client.request(subject, payload).await?;
    match reply.payload.is_empty() {
        true => Err("an empty reply".into()),
        false => Ok(()),
    }
}
