use proptest::prelude::*;

use super::*;

const STRICT: &str = "urn:coreason:actionspace:solver:test:v1";

fn urn(text: &str) -> Urn {
    Urn::parse(text).expect("a URN")
}

#[test]
fn the_strict_form_has_parts_and_an_alias_that_leads_back() {
    let urn = Urn::parse_strict(STRICT).expect("strict");
    let parts = urn.parts().expect("parts");
    assert_eq!(
        (parts.authority, parts.name, parts.version),
        ("coreason", "test", "1")
    );
    assert_eq!(parts.category, Category::Solver);
    assert_eq!(urn.subject(), "urn.coreason.actionspace.solver.test.v1");
    assert_eq!(urn.alias(), "coreason-solver-test-v1");
    assert_eq!(Urn::of_alias("coreason-solver-test-v1"), Some(urn));
}

#[test]
fn looser_forms_are_taken_and_their_alias_ends_in_a_hash() {
    for text in [
        "urn:coreason:oracle:medical_kg",
        "urn:coreason:actionspace:solver:test:v2.1.0",
        "urn:Acme:some-thing:v1_x",
        "urn:coreason:actionspace:painter:test:v1",
        "urn:coreason:actionspace:solver:Test:v1",
    ] {
        assert!(Urn::parse_strict(text).is_err(), "{text}");
        let alias = urn(text).alias();
        assert!(
            alias.contains(HASHED) && Urn::of_alias(&alias).is_none(),
            "{alias}"
        );
    }
}

#[test]
fn what_is_no_urn_says_why() {
    for (text, why) in [
        ("urn:a:b", "20 to 256"),
        (&format!("urn:a:{}", "x".repeat(251)), "20 to 256"),
        ("nru:coreason:oracle:medical_kg", "begin with"),
        ("urn:core-ason:oracle:medical_kg", "authority"),
        ("urn::coreason:oracle:medical", "authority"),
        ("urn:coreason:oracle:*:medical_kg", "names of"),
        ("urn:coreason:oracle:>:medical_kg", "names of"),
        ("urn:coreason:oracle::medical_kg", "names of"),
        ("urn:coreason:oracle:medical_kg.", "names of"),
        ("urn:coreason:oracle:medical kg", "names of"),
        ("urn:coreason_without_a_name", "names of"),
        ("urn:coreason:oracle:médical_kg", "names of"),
    ] {
        let error = Urn::parse(text).expect_err(text);
        assert!(error.contains(why) && error.len() < 250, "{text}: {error}");
    }
}

#[test]
fn a_long_urn_keeps_the_start_of_its_name_in_the_alias() {
    let long = |n: &str| {
        urn(&format!(
            "urn:coreason:actionspace:oracle:{}{n}:v1",
            "x".repeat(80)
        ))
    };
    let (one, two) = (long("1").alias(), long("2").alias());
    assert!(
        one.len() == 64 && two.len() == 64 && one != two,
        "{one} {two}"
    );
    assert!(one.starts_with("coreason-oracle-xxx"), "{one}");
}

#[test]
fn tools_have_urns_of_their_own() {
    let server = ServerName::parse("math").expect("a name");
    let of = |tool: &str| Urn::of_tool(&server, tool).as_str().to_owned();
    assert_eq!(of("add"), "urn:toolbus:tool:math:add");
    assert_eq!(of("v1.add"), "urn:toolbus:tool:math:v1.add");
    let odd = of("a/b:c");
    assert!(odd.starts_with("urn:toolbus:tool:math:a_b_c--"), "{odd}");
    let apart = Urn::of_tool_apart(&server, "add");
    assert!(apart.is_of_tool() && apart.as_str().starts_with("urn:toolbus:tool:math:add--"));
    assert_eq!(Urn::parse(apart.as_str()), Ok(apart));
    let shortest = Urn::of_tool(&ServerName::parse("a").expect("a name"), "b");
    assert_eq!(shortest.as_str().len(), 20);
}

#[test]
fn a_definition_can_name_its_urn() {
    let of = |text: &'static str| Urn::of_definition(&Object::parse(text.into()).expect("JSON"));
    let named =
        of(r#"{"name":"x","_meta":{"toolbus/urn":"urn:coreason:actionspace:solver:test:v1"}}"#);
    assert_eq!(named, Some(Ok(urn(STRICT))));
    assert_eq!(of(r#"{"name":"x","_meta":{}}"#), None);
    assert!(matches!(of(r#"{"_meta":{"toolbus/urn":7}}"#), Some(Err(_))));
    assert!(matches!(
        of(r#"{"_meta":{"toolbus/urn":"x"}}"#),
        Some(Err(_))
    ));
}

#[test]
fn of_two_that_share_a_subject_the_second_is_refused() {
    let mut register = Register::default();
    let (first, second) = (
        urn("urn:coreason:solver:test:v2.1"),
        urn("urn:coreason:solver:test.v2:1"),
    );
    register.take(first.clone(), 1).expect("free");
    let refused = register.take(second.clone(), 2).expect_err("taken");
    assert!(
        refused.contains(first.as_str()) && refused.contains(second.as_str()),
        "{refused}"
    );
    assert!(register.take(first.clone(), 3).is_err());
    assert_eq!(
        (register.get(&first), register.get(&second)),
        (Some(&1), None)
    );
    assert_eq!(register.holder(&second), Some(&first));
    assert_eq!(register.by_alias(&first.alias()), Some((&first, &1)));
    assert_eq!(register.release(&second), None);
    assert_eq!(register.release(&first), Some(1));
    assert_eq!(register.take(second, 2), Ok(()));
}

fn piece() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{1,12}"
}

proptest! {
    #[test]
    fn no_two_urns_have_one_alias(
        one in ("[a-z0-9_]{1,9}", proptest::collection::vec(piece(), 2..5)),
        two in ("[a-z0-9_]{1,9}", proptest::collection::vec(piece(), 2..5)),
        dots in any::<bool>(),
    ) {
        let write = |(authority, names): (String, Vec<String>), by: &str| {
            Urn::parse(&format!("urn:{authority}:{}:of_enough_length", names.join(by)))
        };
        let (Ok(one), Ok(two)) = (write(one, ":"), write(two, if dots { "." } else { ":" })) else {
            return Ok(());
        };
        prop_assert_eq!(one == two, one.alias() == two.alias());
        prop_assert!(one.alias().len() <= LONGEST_ALIAS);
        let alias = one.alias();
        prop_assert_eq!(crate::names::fit(&alias), alias.as_str());
    }

    #[test]
    fn a_strict_alias_leads_back(authority in "[a-z0-9_]{1,12}", name in "[a-z0-9_]{1,20}", version in 0_u32..999) {
        for category in Category::ALL {
            let text = format!("urn:{authority}:actionspace:{}:{name}:v{version}", category.as_str());
            let urn = Urn::parse_strict(&text).expect("strict");
            prop_assert_eq!(Urn::of_alias(&urn.alias()), Some(urn));
        }
    }

    #[test]
    fn every_tool_has_a_urn(server in "[A-Za-z0-9_-]{1,64}", tool in any::<String>()) {
        let urn = Urn::of_tool(&ServerName::parse(&server).expect("a name"), &tool);
        prop_assert_eq!(Urn::parse(urn.as_str()), Ok(urn));
    }

    #[test]
    fn no_text_is_too_much(text in any::<String>()) {
        let _ = (Urn::parse(&text), Urn::of_alias(&text));
    }
}
