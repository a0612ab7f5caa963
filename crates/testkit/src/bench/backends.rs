//! Servers without a process, for workers that are measured: the echo, and one with many tools.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use toolbus_model::{
    Backend, BoxFuture, Call, Error, Freshness, Health, Item, Method, Object, Offer, Outcome,
    Request,
};

/// Sends a message back, at once or after a time.
#[derive(Debug)]
pub struct Echo {
    offer: watch::Sender<Arc<Offer>>,
    delay: Duration,
}

impl Echo {
    /// With two tools, `echo`, which may run again, and `echo_once`, which may not.
    pub fn new(delay: Duration) -> Self {
        let (again, once) = (
            json!({"readOnlyHint": true}),
            json!({"readOnlyHint": false}),
        );
        Self::of(vec![tool("echo", &again), tool("echo_once", &once)], delay)
    }

    /// With many tools, all of which do the same. Each definition has about a kibibyte.
    pub fn crowd(server: &str, tools: usize) -> Self {
        let hints = json!({"readOnlyHint": true, "title": "x".repeat(800)});
        let name = |number| format!("{server}_{number:04}");
        let tools = (0..tools).map(|number| tool(&name(number), &hints));
        Self::of(tools.collect(), Duration::ZERO)
    }

    fn of(tools: Vec<Item>, delay: Duration) -> Self {
        let offer = Offer {
            tools,
            capabilities: Some(Object::of(&json!({"tools": {}}))),
            revision: Some("2026-07-28"),
            freshness: Freshness::default(),
            health: Health::Up,
            ..Offer::default()
        };
        let offer = watch::Sender::new(Arc::new(offer));
        Self { offer, delay }
    }

    async fn answer(&self, request: &Request, call: &Call) -> Result<Outcome, Error> {
        if request.method != Method::ToolsCall {
            return Err(Error::MethodNotFound(request.method.as_str().to_owned()));
        }
        let arguments = request.params.object("arguments").and_then(Result::ok);
        let message = arguments.as_ref().and_then(|all| all.get("message"));
        let message = message.filter(|message| message.starts_with(b"\""));
        let message = message.ok_or_else(|| Error::InvalidParams("message is missing".into()))?;
        if !self.delay.is_zero()
            && tokio::time::timeout(self.delay, call.cancelled())
                .await
                .is_ok()
        {
            return Err(Error::Cancelled);
        }
        let mut text = Vec::with_capacity(message.len() + 64);
        text.extend_from_slice(br#"{"resultType":"complete","content":[{"type":"text","text":"#);
        text.extend_from_slice(message);
        text.extend_from_slice(b"}]}");
        let result = Object::parse(Bytes::from(text));
        result
            .map(Outcome::Complete)
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

fn tool(name: &str, annotations: &serde_json::Value) -> Item {
    let schema = json!({"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]});
    let definition = json!({
        "name": name,
        "description": "Sends the message back.",
        "inputSchema": schema,
        "annotations": annotations,
    });
    Item {
        key: name.into(),
        definition: Object::of(&definition),
    }
}

impl Backend for Echo {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move { self.answer(&request, call).await })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
