//! JSON that is valid and unpleasant, as text: what a parser would make the same is written in different ways.

/// Random numbers that are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it fits")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Deepest nesting of a payload: with the envelope around it still under the gateway's bound of 256.
const DEEPEST: usize = 230;

/// How deep a value branches; beyond it there are only chains.
const BRANCHES: usize = 5;

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1.50",
    "1e400",
    "-1E+400",
    "1E-7",
    "0.1e1",
    "9007199254740993",
    "12345678901234567890",
    "-98765432109876543210",
    "3.141592653589793238462643383279",
    "5e-324",
];

const PIECES: &[&str] = &[
    "plain",
    "a b",
    "é",
    "e\u{301}",
    "世界",
    "😀",
    "\u{2028}",
    "\u{feff}",
    "\u{85}",
    "\u{7f}",
    "\u{10ffff}",
    "data: x",
    "//",
    r"\/",
    r#"\""#,
    r"\\",
    r"\b\f",
    r"\n",
    r"\r\n",
    r"\t",
    r"\u0000",
    r"\u001F",
    r"\u001f",
    r"\u0061",
    r"\u00e9",
    r"\u00E9",
    r"\ud83d\ude00",
    r"\uD83D\uDE00",
    r"\u2028",
];

const KEYS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "a ",
    r"\u0061",
    "aa",
    "é",
    r"\u00e9",
    "e\u{301}",
    "0",
    "id",
    "method",
    "params",
    "result",
    "error",
    "jsonrpc",
    "name",
    "arguments",
    "_meta",
    "resultType",
    "ttlMs",
    "requestState",
    "__proto__",
    "$ref",
    "x y",
    r"\n",
    r"\ud83d\ude00",
    "😀",
];

const GAPS: &[&str] = &[" ", "  ", "\t", "\n", "\r\n", " \n\t"];

/// Any value.
pub(crate) fn value(random: &mut Random) -> String {
    let mut out = String::new();
    put_value(random, &mut out, 0);
    out
}

/// An object.
pub(crate) fn object(random: &mut Random) -> String {
    let mut out = String::new();
    put_object(random, &mut out, 0);
    out
}

/// A string with its quotes.
pub(crate) fn string(random: &mut Random) -> String {
    let mut out = String::new();
    put_string(random, &mut out);
    out
}

fn put_value(random: &mut Random, out: &mut String, depth: usize) {
    let kinds = if depth < BRANCHES { 8 } else { 4 };
    match random.below(kinds) {
        0 => out.push_str(random.pick(&["null", "true", "false"])),
        1 => out.push_str(random.pick(NUMBERS)),
        2 | 3 => put_string(random, out),
        4 | 5 => put_object(random, out, depth),
        6 if random.one_in(4) => put_chain(random, out),
        _ => put_array(random, out, depth),
    }
}

fn put_gap(random: &mut Random, out: &mut String) {
    if random.one_in(6) {
        out.push_str(random.pick(GAPS));
    }
}

fn put_string(random: &mut Random, out: &mut String) {
    out.push('"');
    for _ in 0..random.below(5) {
        out.push_str(random.pick(PIECES));
    }
    out.push('"');
}

/// Its keys may come twice, and look alike without being so.
fn put_object(random: &mut Random, out: &mut String, depth: usize) {
    out.push('{');
    put_gap(random, out);
    for number in 0..random.below(5) {
        if number > 0 {
            out.push(',');
            put_gap(random, out);
        }
        let key = random.pick(KEYS);
        out.push_str(&format!("\"{key}\""));
        put_gap(random, out);
        out.push(':');
        put_gap(random, out);
        put_value(random, out, depth + 1);
        put_gap(random, out);
    }
    out.push('}');
}

fn put_array(random: &mut Random, out: &mut String, depth: usize) {
    out.push('[');
    put_gap(random, out);
    for number in 0..random.below(4) {
        if number > 0 {
            out.push(',');
            put_gap(random, out);
        }
        put_value(random, out, depth + 1);
        put_gap(random, out);
    }
    out.push(']');
}

/// One value within many.
fn put_chain(random: &mut Random, out: &mut String) {
    let depth = random.below(DEEPEST - 2 * BRANCHES);
    let ends: Vec<char> = (0..depth)
        .map(|_| match random.one_in(2) {
            true => {
                out.push('[');
                ']'
            }
            false => {
                out.push_str(r#"{"a":"#);
                '}'
            }
        })
        .collect();
    out.push_str(random.pick(NUMBERS));
    out.extend(ends.iter().rev());
}
