//! What federated peers ask: the JSON-RPC of the mesh, under an agreement.

use std::sync::Arc;

use bytes::Bytes;
use toolbus_gateway::policy::glob;
use toolbus_model::{Caller, Claims, Era, Error, Kind, Object, Raw, Trace};
use toolbus_protocol::capability::{Execution, META_STATE, Parties, check_id};
use toolbus_protocol::{Envelope, Message, fault, write};

use super::Api;
use super::execute::{Asker, Refused, check_size};

/// A peer that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// As whom it calls.
    pub caller: String,
    /// The agreement that it names.
    pub agreement: String,
    /// The URNs that it may call, where `*` stands for any text.
    pub shares: Vec<String>,
    /// For whom it calls.
    pub tenant: Option<String>,
}

impl Api {
    /// Answers a peer's request: a JSON-RPC response, or nothing where it asked for none.
    pub async fn answer_peer(self: &Arc<Self>, body: Bytes) -> Option<Vec<u8>> {
        let envelope = match Message::parse(&body) {
            Ok(Message::Call(envelope)) => envelope,
            Ok(Message::Reply(_)) => return None,
            Err(refusal) => return Some(failed(refusal.id.as_ref(), &refusal.error, None)),
        };
        let id = envelope.id.clone()?;
        let done = match self.admit(&body, &envelope) {
            Ok((asker, execution)) => self.execute(asker, execution).await,
            Err(error) => Err(Refused::Error(error)),
        };
        let (answer, call) = match done {
            Ok(executed) => (executed.answer, executed.call),
            Err(Refused::Tenant(why)) => {
                let text = format!("Invalid params: {why}");
                (Err(Error::InvalidParams(text)), None)
            }
            Err(Refused::Error(error)) => (Err(error), None),
        };
        Some(match answer {
            Ok(result) => {
                let whole = |out: &mut Vec<u8>| out.extend_from_slice(result.bytes());
                write::result(&id, whole, result.bytes().len())
            }
            Err(error) => failed(Some(&id), &error, call),
        })
    }

    /// Who asks for what, where it may.
    fn admit(&self, body: &Bytes, envelope: &Envelope) -> Result<(Asker, Execution), Error> {
        let whole = Object::parse(body.clone()).map_err(|error| Error::Parse(error.to_string()))?;
        let peer = self.agreed(&whole)?;
        if envelope.method != "tools/call" {
            return Err(Error::MethodNotFound(envelope.method.clone()));
        }
        let invalid = |why: String| Error::InvalidRequest(format!("Invalid request: {why}"));
        if let (Some(id), true) = (&envelope.id, self.settings.strict) {
            check_id(id).map_err(invalid)?;
        }
        let execution = asked(&envelope.params)?;
        check_size(&execution)?;
        let may = |pattern: &String| glob(pattern.as_bytes(), execution.tool.as_bytes());
        if !execution.tool.starts_with("urn:") || !peer.1.shares.iter().any(may) {
            return Err(Error::Unknown {
                kind: Kind::Tool,
                name: execution.tool,
            });
        }
        let claims = Claims {
            tenant: peer.1.tenant.clone(),
            spiffe_id: None,
        };
        let asker = Asker {
            caller: Caller::named(&peer.1.caller).with_claims(claims),
            door: "federation",
            trace: Trace::default(),
            parties: Parties {
                agreement: peer.1.agreement.clone(),
                source: peer.0.clone(),
                destination: self.settings.instance.clone(),
            },
        };
        Ok((asker, execution))
    }

    /// The peer that asks, where it names itself, us, and the agreement between us.
    fn agreed(&self, whole: &Object) -> Result<(&String, &Peer), Error> {
        let refuse = |why: &str| Error::Unauthenticated(format!("federation: {why}"));
        let Some(Ok(said)) = whole.object("federation") else {
            return Err(refuse("the member \"federation\" is missing"));
        };
        let source = said.str("source_instance").unwrap_or_default();
        let peer = self.settings.peers.get_key_value(&*source);
        let agreed = peer.filter(|(_, peer)| {
            said.str("agreement_id").as_deref() == Some(&*peer.agreement)
                && said.str("target_instance").as_deref() == Some(&*self.settings.instance)
        });
        // Which of the three is wrong is for the one to know whose they are.
        agreed.ok_or_else(|| refuse("source, target and agreement are none that are known here"))
    }
}

/// The execution that the parameters of `tools/call` stand for.
fn asked(params: &Object) -> Result<Execution, Error> {
    let wrong = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
    if let Some(name) = params.duplicate(&["name", "arguments", "_meta"]) {
        return Err(wrong(&format!("{name:?} stands twice")));
    }
    let object = |value: Option<Result<Object, _>>, name: &str| match value {
        None => Ok(Object::empty()),
        Some(value) => value.map_err(|_| wrong(&format!("{name:?} must be an object"))),
    };
    let meta = object(params.object("_meta"), "_meta")?;
    let name = params.str("name");
    Ok(Execution {
        tool: name
            .ok_or_else(|| wrong("\"name\" must be a string"))?
            .into_owned(),
        intent: object(params.object("arguments"), "arguments")?,
        state: object(meta.object(META_STATE), META_STATE)?,
    })
}

fn failed(id: Option<&Raw>, error: &Error, call: Option<toolbus_model::CallId>) -> Vec<u8> {
    let data = fault::data(error, call);
    let code = fault::code(error, Era::Modern);
    write::error(id, code, &error.to_string(), data.as_ref().map(Raw::bytes))
}
