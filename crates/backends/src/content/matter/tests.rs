//! Front matter that is read, and front matter that is refused.

use super::*;

fn matter(text: &str) -> Result<Node, String> {
    split(&format!("---\n{text}\n---\nbody")).map(|(matter, _)| matter.expect("front matter"))
}

#[test]
fn front_matter_ends_at_its_second_line() {
    assert_eq!(
        split("# no front matter\n---\n"),
        Ok((None, "# no front matter\n---\n"))
    );
    let (matter, body) = split("\u{feff}---\r\nname: x\r\n---\r\nbody\n---\nmore").expect("read");
    assert_eq!(matter.expect("there").text("name"), Ok(Some("x")));
    assert_eq!(body, "body\n---\nmore");
    let (matter, body) = split("---\n---").expect("read");
    assert_eq!(
        (matter.expect("there").value, body),
        (Value::Map(Vec::new()), "")
    );
    assert_eq!(
        split("---\nname: x\n"),
        Err("no line of `---` ends the front matter".to_owned())
    );
}

#[test]
fn values_are_read_as_they_are_written() {
    let text = "a: yes\nb: \"null\"\nc:\nd: >\n  two\n  lines\ne: [1, true]\nf: {g: 'h: i'}";
    let matter = matter(text).expect("read");
    assert_eq!(matter.text("a"), Ok(Some("yes")));
    assert_eq!(matter.text("b"), Ok(Some("null")));
    assert_eq!(matter.text("c"), Ok(None));
    assert_eq!(matter.text("d"), Ok(Some("two lines\n")));
    let list = matter
        .get("e")
        .expect("there")
        .as_list("e")
        .expect("a list");
    assert_eq!(list[1].as_bool("e"), Ok(true));
    assert_eq!(matter.get("f").expect("there").text("g"), Ok(Some("h: i")));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, why) in [
        ("name: x\nname: y", "line 3: `name` stands twice"),
        ("a: &x 1\nb: *x", "line 2: anchors"),
        ("a: !!python/object x", "line 2: tags"),
        ("- a\n- b", "line 2: the front matter must be"),
        ("just text", "line 2: the front matter must be"),
        ("a: [1, 2", "line "),
        ("? [a]\n: b", "a name must be text"),
        (&"[".repeat(40), "line "),
        (
            &format!("a: {}x{}", "[".repeat(20), "]".repeat(20)),
            "line 2: nested deeper",
        ),
    ] {
        let told = matter(text).expect_err(text);
        assert!(told.contains(why), "{text}: {told}");
    }
    let large = format!("a: {}", "x".repeat(MAX_MATTER));
    assert!(matter(&large).expect_err("large").contains("larger than"));
}

#[test]
fn a_bomb_of_aliases_is_refused_at_its_first_anchor() {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..30 {
        text += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    assert!(matter(&text).expect_err("refused").contains("anchors"));
}
