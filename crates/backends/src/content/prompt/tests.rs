//! Prompts as they are written, and as they are filled in.

use super::*;

const REVIEW: &str = "---
name: review
description: Looks at a change
arguments:
  - name: file
    description: Which file
    required: true
  - name: tone
    enum: [kind, blunt]
    default: kind
  - note
---

Look at {{file}}, be {{ tone }}. {{note}}
";

fn parse(text: &str) -> Prompt {
    Prompt::parse("stem", text).expect("a prompt").0
}

fn expand(arguments: Json) -> Result<String, String> {
    let expanded = parse(REVIEW).expand(&Object::of(&arguments));
    let expanded = expanded.map_err(|error| error.to_string())?;
    let result: Json = expanded.to_raw().read().expect("JSON");
    Ok(result["messages"][0]["content"]["text"]
        .as_str()
        .expect("text")
        .to_owned())
}

#[test]
fn a_prompt_is_listed_with_its_arguments() {
    let item = parse(REVIEW).item();
    let listed: Json = item.definition.to_raw().read().expect("JSON");
    let wanted = json!({"name": "review", "description": "Looks at a change", "arguments": [
        {"name": "file", "description": "Which file", "required": true},
        {"name": "tone", "required": false}, {"name": "note", "required": false},
    ]});
    assert_eq!(listed, wanted);
    let bare = parse("---\n---\nHello").item();
    assert_eq!(bare.definition.bytes(), br#"{"name":"stem"}"#);
}

#[test]
fn values_stand_as_they_are_given() {
    let filled = expand(json!({"file": "{{tone}} {{file}}", "note": "\\{{x}}"}));
    assert_eq!(
        filled.as_deref(),
        Ok("Look at {{tone}} {{file}}, be kind. \\{{x}}")
    );
}

#[test]
fn what_is_wrong_with_arguments_is_told_by_name() {
    for (arguments, why) in [
        (
            json!({}),
            r#"prompt "review": the argument "file" is missing"#,
        ),
        (
            json!({"file": 7}),
            r#"the argument "file" must be a string"#,
        ),
        (
            json!({"file": "x", "tone": "rude"}),
            r#"the argument "tone" must be one of: kind, blunt"#,
        ),
        (
            json!({"file": "x", "fiel": "y"}),
            r#"no argument "fiel"; its arguments: file, tone, note"#,
        ),
    ] {
        let told = expand(arguments).expect_err(why);
        assert!(
            told.contains(why) && told.starts_with("Invalid params"),
            "{told}"
        );
    }
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    for (text, why) in [
        ("Hello", "it has no front matter"),
        ("---\nname: [a]\n---", "line 2: `name` must be text"),
        (
            "---\narguments: x\n---",
            "line 2: `arguments` must be a list",
        ),
        (
            "---\narguments:\n  - description: x\n---",
            "line 3: `arguments` has an entry without a `name`",
        ),
        (
            "---\narguments:\n  - name: a\n    required: yes\n---",
            "line 4: `required` must be true or false",
        ),
        (
            "---\narguments:\n  - name: a\n    type: string\n---",
            "line 4: `type` is not known of an argument",
        ),
        ("---\narguments: [a, a]\n---", "`arguments` has \"a\" twice"),
        ("---\narguments: [1a]\n---", "`name` is \"1a\""),
        (
            "---\narguments:\n  - {name: a, enum: [x], default: y}\n---",
            "`default` is \"y\", which is none of `enum`",
        ),
        (
            "---\nname: x\n---\n\ntext {{b}}\n",
            "line 5: the placeholder {{b}} has no argument",
        ),
    ] {
        let told = Prompt::parse("stem", text).expect_err(why);
        assert!(told.contains(why), "{told}");
    }
    let (_, said) = Prompt::parse("stem", "---\narguments: [a]\n---\nno").expect("a prompt");
    assert_eq!(said, ["the argument \"a\" stands nowhere in the text"]);
}

#[test]
fn a_value_that_stands_often_is_bounded() {
    let text = format!("---\narguments: [a]\n---\n{}", "{{a}}".repeat(1_000));
    let long = json!({ "a": "x".repeat(MAX_EXPANDED / 1_000 + 1) });
    let refused = parse(&text).expand(&Object::of(&long));
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
}
