//! The parts of the mesh's benchmarks, one process each; what is measured is printed as a line of JSON.
//!
//! `mesh-bench raw-echo URL SUBJECT`, `raw-load URL SUBJECT CALLERS SECONDS PAYLOAD-FILE`,
//! `worker URL SERVER DELAY-MS`, `load URL SERVER TOOL CALLERS SECONDS SIZE load|queue WORKERS`,
//! `crowd URL WORKERS SERVERS TOOLS`, `leak URL SERVER CALLS`. Those that serve do so until they are ended.
//!
//! And those of the benchmarks of Python: `http-load HOST:PORT|unix:PATH CALLERS SECONDS REQUEST-FILE WANTED`,
//! `process-load CALLERS SECONDS STDIN-FILE WANTED PROGRAM...`; `WANTED` is a text in each answer.

use std::io::Write as _;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use toolbus_testkit::bench::load::{Load, Plan};
use toolbus_testkit::bench::mesh::{self, Ask};
use toolbus_testkit::bench::serve::Failure;
use toolbus_testkit::bench::{http, processes, raw};

// As `toolbus` itself has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = words.iter().map(String::as_str);
    match words.next().unwrap_or_default() {
        "raw-echo" => raw::echo(next(&mut words)?, next(&mut words)?.to_owned()).await,
        "raw-load" => {
            let (url, subject) = (next(&mut words)?, next(&mut words)?.to_owned());
            let plan = plan(&mut words)?;
            let payload = Bytes::from(std::fs::read(next(&mut words)?)?);
            print(&raw::load(url, subject, payload, plan).await?)
        }
        "worker" => {
            let (url, name) = (next(&mut words)?, next(&mut words)?);
            let delay = Duration::from_millis(number(&mut words)?);
            mesh::work(url, name, delay).await
        }
        "load" => {
            let (url, server, tool) = (next(&mut words)?, next(&mut words)?, next(&mut words)?);
            let plan = plan(&mut words)?;
            let ask = Ask {
                server: server.to_owned(),
                tool: tool.to_owned(),
                size: number(&mut words)?,
                queue: next(&mut words)? == "queue",
                workers: number(&mut words)?,
            };
            print(&mesh::load(url, &ask, plan).await?)
        }
        "crowd" => {
            let url = next(&mut words)?;
            let (workers, servers) = (number(&mut words)?, number(&mut words)?);
            mesh::crowd(url, workers, servers, number(&mut words)?).await
        }
        "leak" => {
            let (url, server) = (next(&mut words)?, next(&mut words)?);
            mesh::leak(url, server, number(&mut words)?).await
        }
        "http-load" => {
            let address = next(&mut words)?.to_owned();
            let plan = plan(&mut words)?;
            let request = Bytes::from(std::fs::read(next(&mut words)?)?);
            let wanted = next(&mut words)?.to_owned();
            print(&http::load(address, request, wanted, plan).await)
        }
        "process-load" => {
            let plan = plan(&mut words)?;
            let stdin = Bytes::from(std::fs::read(next(&mut words)?)?);
            let wanted = next(&mut words)?.to_owned();
            let line = words.map(str::to_owned).collect();
            print(&processes::load(line, stdin, wanted, plan).await)
        }
        other => Err(format!("no part is called {other:?}").into()),
    }
}

fn plan<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Plan, Failure> {
    Ok(Plan {
        callers: number(words)?,
        time: Duration::from_secs(number(words)?),
        warm_up: Duration::from_millis(500),
    })
}

fn next<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, Failure> {
    words.next().ok_or_else(|| "an argument is missing".into())
}

fn number<'a, T: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Result<T, Failure> {
    let word = next(words)?;
    word.parse()
        .map_err(|_| format!("{word:?} is no number").into())
}

fn print(load: &Load) -> Result<(), Failure> {
    let line = serde_json::to_string(load)?;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
