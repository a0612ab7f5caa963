//! Schemas and arguments that were made to cost as much as can be: each is dealt with in bounded time and memory, and nothing
//! is started. A process of its own, whose memory can be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use toolbus_backends::checked::Checked;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Caller, Error, Item, Method, Object, Offer, Outcome, Raw,
    Request, Revision, Trace,
};

/// Ten times what is promised: a debug build takes five times as long, and time of the CPU is what is measured.
const WITHIN: Duration = Duration::from_millis(500);
const MEMORY: u64 = 50 * 1024 * 1024;

/// Counts what reaches it.
struct Counting(watch::Sender<Arc<Offer>>, AtomicUsize);

impl Backend for Counting {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.subscribe()
    }

    fn serve<'a>(&'a self, _: Request, _: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Outcome::Complete(Object::empty())) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum End {
    /// The tool ran.
    Ran,
    /// The arguments were told to be wrong, or too much.
    Refused,
}
use End::{Ran, Refused};

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

fn object_of(arguments: &str) -> String {
    format!(r#"{{"v":{arguments}}}"#)
}

fn about_v(schema: &str) -> String {
    format!(r#"{{"properties":{{"v":{schema}}}}}"#)
}

type Case = (&'static str, String, String, End);

fn explosions() -> Vec<Case> {
    let branches = r##"{"$defs":{"n":{"anyOf":[{"properties":{"x":{"$ref":"#/$defs/n"}},"required":["y"]},{"properties":{"x":{"$ref":"#/$defs/n"}},"required":["z"]}]}},"$ref":"#/$defs/n"}"##;
    let unevaluated = r##"{"$defs":{"n":{"oneOf":[{"properties":{"x":{"$ref":"#/$defs/n"}}},{"properties":{"x":{"$ref":"#/$defs/n"}},"required":["z"]}],"unevaluatedProperties":false}},"$ref":"#/$defs/n"}"##;
    let dynamic = r##"{"$dynamicAnchor":"n","allOf":[{"$dynamicRef":"#n"}]}"##;
    let define = |n: usize| {
        let next = n + 1;
        format!(
            r##""d{n}":{{"allOf":[{{"$ref":"#/$defs/d{next}"}},{{"$ref":"#/$defs/d{next}"}}]}}"##
        )
    };
    let laughs = (0..60).map(define).collect::<Vec<_>>().join(",");
    let laughs = format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{laughs},"d60":{{}}}}}}"##);
    let deep = nested(r#"{"x":"#, "{}", "}", 100);
    let forms = r#"{"type":"object","required":["a"]},"#.repeat(1_000);
    let forms = about_v(&format!(
        r#"{{"items":{{"anyOf":[{forms}{{"type":"null"}}]}}}}"#
    ));
    let objects = object_of(&format!("[{}{{}}]", "{},".repeat(20_000)));
    vec![
        (
            "alternatives that double at each level",
            branches.into(),
            deep.clone(),
            Refused,
        ),
        (
            "the same, and what was looked at",
            unevaluated.into(),
            deep,
            Refused,
        ),
        (
            "a schema that is itself",
            r##"{"$ref":"#"}"##.into(),
            "{}".into(),
            Ran,
        ),
        (
            "a schema that is dynamically itself",
            dynamic.into(),
            "{}".into(),
            Ran,
        ),
        ("sixty doublings", laughs, "{}".into(), Ran),
        (
            "a thousand alternatives for each of many",
            forms,
            objects,
            Refused,
        ),
    ]
}

fn listed(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(",")
}

fn large() -> Vec<Case> {
    let many = |count: usize| format!("[{}0]", "1,".repeat(count));
    let keys = format!("{{{}}}", listed(20_000, |n| format!(r#""k{n}":{n}"#)));
    let properties = listed(20_000, |n| format!(r#""k{n}":{{"type":"null"}}"#));
    let required = listed(20_000, |n| format!(r#""other {n}""#));
    let values = listed(30_000, |n| format!(r#""value {n}""#));
    let wrong = listed(50_000, |n| format!(r#""none {n}""#));
    let distinct = listed(150_000, |n| n.to_string());
    let empty = format!("[{}[]]", "[],".repeat(3_000_000));
    let long = format!("\"{}\"", "x".repeat(9_000_000));
    let forms = r#"{"items":{"anyOf":[{"type":"string"},{"type":"null"},{"type":"boolean"},{"type":"array"}]}}"#;
    let any = about_v("{}");
    let values = about_v(&format!(r#"{{"items":{{"enum":[{values}]}}}}"#));
    let of_keys = |keyword: &str| format!(r#"{{{keyword}}}"#);
    let properties = of_keys(&format!(r#""properties":{{{properties}}}"#));
    let required = of_keys(&format!(r#""required":[{required}]"#));
    vec![
        (
            "millions of values",
            any.clone(),
            object_of(&many(4_000_000)),
            Refused,
        ),
        (
            "empty lists without end",
            any.clone(),
            object_of(&empty),
            Refused,
        ),
        (
            "deep nesting",
            any,
            object_of(&nested("[", "", "]", 250)),
            Refused,
        ),
        (
            "a deep schema",
            nested(r#"{"not":"#, "{}", "}", 250),
            "{}".into(),
            Ran,
        ),
        (
            "a huge enum, for each of many",
            values,
            object_of(&format!("[{wrong}]")),
            Refused,
        ),
        (
            "uniqueItems of many",
            about_v(r#"{"uniqueItems":true}"#),
            object_of(&format!("[{distinct}]")),
            Ran,
        ),
        (
            "many properties, all of them wrong",
            properties,
            keys.clone(),
            Refused,
        ),
        ("many required fields", required, keys, Refused),
        (
            "each of many is wrong",
            about_v(forms),
            object_of(&many(150_000)),
            Refused,
        ),
        (
            "a text of megabytes",
            about_v(r#"{"type":"string","maxLength":5}"#),
            object_of(&long),
            Refused,
        ),
    ]
}

fn numbers_and_patterns() -> Vec<Case> {
    let pattern = |written: &str| about_v(&format!(r#"{{"pattern":"{written}"}}"#));
    let text = |text: String| object_of(&format!("\"{text}\""));
    let words = listed(300, |n| {
        format!(r#"{{"pattern":"^(a|b|ab|{n})*c{{1,{}}}$"}}"#, n + 1)
    });
    let words = about_v(&format!(r#"{{"anyOf":[{words}]}}"#));
    let names = listed(5_000, |n| format!(r#""{}{n}":1"#, "x".repeat(100)));
    let of_names = r#"{"patternProperties":{"^(a|b)*c$":{},"^(x+x+)+y$":{"type":"null"}}}"#;
    let many_a = || "a".repeat(100_000) + "b";
    vec![
        (
            "a million digits",
            about_v(r#"{"multipleOf":7,"maximum":1e300}"#),
            object_of(&"7".repeat(1_000_000)),
            Refused,
        ),
        (
            "a tiny step of a vast number",
            about_v(r#"{"multipleOf":1e-300}"#),
            object_of("1e999999999"),
            Ran,
        ),
        (
            "a vast exponent",
            about_v(r#"{"maximum":1}"#),
            object_of("1e99999999999999999999"),
            Refused,
        ),
        ("(a+)+$", pattern("^(a+)+$"), text(many_a()), Refused),
        ("(a|aa)+$", pattern("^(a|aa)+$"), text(many_a()), Refused),
        (
            "(.*)*(.*)*(.*)*x",
            pattern("(.*)*(.*)*(.*)*x$"),
            text("a".repeat(1_000_000)),
            Refused,
        ),
        (
            "counted letters",
            pattern("^(.?){30}(.){30}$"),
            text("é".repeat(200_000)),
            Refused,
        ),
        (
            "a pattern of billions",
            pattern("((a{1000}){1000}){1000}"),
            text("a".into()),
            Ran,
        ),
        ("many patterns", words, text("ab".repeat(2_000)), Ran),
        (
            "patterns of names",
            of_names.into(),
            format!("{{{names}}}"),
            Ran,
        ),
    ]
}

fn call() -> Arc<Call> {
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Raw::of(&json!({})),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    Call::begin(seed, CancellationToken::new()).0
}

/// Time of the CPU that this thread has had: other tests and builds run beside it.
fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn memory(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let number = number.and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// A tool of this schema behind the layer, and what is asked of it.
fn placed(schema: &str, arguments: &str) -> (Arc<Counting>, Arc<Checked>, Request) {
    let tool = format!(r#"{{"name":"t","inputSchema":{schema}}}"#);
    let offer = Offer {
        tools: vec![Item {
            key: "t".into(),
            definition: Object::parse(tool.into()).expect("a definition"),
        }],
        ..Offer::default()
    };
    let offers = watch::Sender::new(Arc::new(offer));
    let place = Arc::new(Counting(offers, AtomicUsize::new(0)));
    let checked = Checked::around("hostile", Arc::clone(&place) as Arc<dyn Backend>);
    let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
    let request = Request {
        method: Method::ToolsCall,
        target: Some("t".into()),
        params: Object::parse(params.into()).expect("parameters"),
        meta: Object::empty(),
    };
    (place, checked, request)
}

/// One call of a tool with this schema, and what it cost.
fn measured(schema: &str, arguments: &str) -> (End, Outcome, Duration, u64) {
    let (place, checked, request) = placed(schema, arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (call, runtime) = (call(), runtime.expect("a runtime"));
    // The peak is counted from here on.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (held, began, wall) = (memory("VmRSS"), worked(), Instant::now());
    let outcome = runtime.block_on(checked.serve(request, &call));
    let spent = worked().zip(began);
    let spent = spent.map_or_else(|| wall.elapsed(), |(end, start)| end.saturating_sub(start));
    let grown = memory("VmHWM").saturating_sub(held);
    let outcome = outcome.expect("an outcome");
    let end = match outcome.is_tool_error() {
        true => Refused,
        false => Ran,
    };
    let ran = place.1.load(Ordering::Relaxed);
    assert_eq!(
        ran,
        usize::from(end == Ran),
        "what is refused is not started"
    );
    (end, outcome, spent, grown)
}

/// Set where memory that is given back is given back to the system at once, so that every case is seen to take its own.
const PLAIN: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "65536");

#[test]
fn hostile_schemas_and_arguments_cost_little() {
    if std::env::var_os(PLAIN.0).is_some() {
        return hold_all();
    }
    let child = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "hostile_schemas_and_arguments_cost_little",
            "--nocapture",
        ])
        .env(PLAIN.0, PLAIN.1)
        .env("MALLOC_MMAP_THRESHOLD_", PLAIN.1)
        .output();
    let child = child.expect("the same program again");
    let told = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success(), "{told}");
    assert!(
        told.contains("patterns of names"),
        "every case was held: {told}"
    );
    // Shown with `--nocapture`.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
}

fn hold_all() {
    let cases = explosions().into_iter().chain(large());
    let mut table = String::new();
    for (what, schema, arguments, expected) in cases.chain(numbers_and_patterns()) {
        let (end, outcome, spent, grown) = measured(&schema, &arguments);
        table += &format!("{what}: {spent:?}, {} KiB\n", grown / 1024);
        assert_eq!(end, expected, "{what}: {outcome:?}\n{table}");
        assert!(spent < WITHIN, "{what}: {spent:?}\n{table}");
        assert!(grown < MEMORY, "{what}: {grown} bytes\n{table}");
        let answer = outcome.object().bytes().len();
        assert!(answer < 16 * 1024, "{what}: an answer of {answer} bytes");
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), table.as_bytes());
}

/// What the quickstart's `add` has, and 200 bytes of arguments for it.
#[tokio::test]
async fn an_ordinary_call_is_checked_in_microseconds() {
    const CALLS: u32 = 20_000;
    let schema = r#"{"properties":{"a":{"title":"A","type":"number"},"b":{"title":"B","type":"number"},"note":{"title":"Note","type":"string"}},"required":["a","b"],"title":"addArguments","type":"object"}"#;
    let arguments = format!(r#"{{"a":1,"b":2.5,"note":"{}"}}"#, "x".repeat(175));
    assert_eq!(arguments.len(), 200);
    let (place, checked, request) = placed(schema, &arguments);
    let call = call();
    let timed = async |backend: &dyn Backend| {
        let start = Instant::now();
        for _ in 0..CALLS {
            let outcome = backend.serve(request.clone(), &call).await;
            assert!(!outcome.expect("an outcome").is_tool_error());
        }
        start.elapsed() / CALLS
    };
    let (bare, whole) = (timed(&*place).await, timed(&*checked).await);
    let line =
        format!("200 B of arguments: {whole:?} a call, of which {bare:?} without the check\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    assert!(
        whole < Duration::from_millis(1),
        "{whole:?}, where microseconds are meant"
    );
}
