//! The names that were given, as text and back.

use serde::{Deserialize, Serialize};
use toolbus_gateway::Shelf;
use toolbus_gateway::catalog::Holders;
use toolbus_model::ServerName;

/// The form that is written here. A text of another form is not read.
const FORM: u32 = 1;

/// A text as it is written.
#[derive(Serialize, Deserialize)]
struct Names {
    form: u32,
    /// List, server, the server's own name, the name that is shown.
    names: Vec<(String, String, String, String)>,
}

pub(super) fn write(holders: &Holders) -> Vec<u8> {
    let mut names: Vec<_> = holders
        .iter()
        .map(|((shelf, server, original), name)| {
            let (shelf, server) = (shelf.member().to_owned(), server.to_string());
            (shelf, server, original.to_string(), name.to_string())
        })
        .collect();
    // The same names are the same text.
    names.sort();
    serde_json::to_vec(&Names { form: FORM, names }).unwrap_or_default()
}

pub(super) fn read(text: &[u8]) -> Result<Holders, String> {
    let kept: Names = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if kept.form != FORM {
        return Err("it is of another version of Toolbus".to_owned());
    }
    let given = |(list, server, original, name): (String, String, String, String)| {
        let shelf = Shelf::ALL.into_iter().find(|shelf| shelf.member() == list);
        let shelf = shelf.ok_or_else(|| format!("no list {list:?}"))?;
        let server = ServerName::parse(&server)?;
        Ok(((shelf, server, original.into()), name.into()))
    };
    kept.names.into_iter().map(given).collect()
}
