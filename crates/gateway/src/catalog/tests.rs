//! Names, order and pages.

use super::*;
use serde_json::json;

fn server(name: &str, tools: &[&str]) -> (ServerName, Arc<Offer>) {
    let item = |name: &&str| Item {
        key: (*name).into(),
        definition: Object::of(
            &json!({"name": name, "inputSchema": {"type": "object", "$defs": {}}}),
        ),
    };
    let offer = Offer {
        tools: tools.iter().map(item).collect(),
        health: Health::Up,
        ..Offer::default()
    };
    (ServerName::parse(name).expect("a name"), Arc::new(offer))
}

fn names(catalog: &Catalog) -> Vec<String> {
    let view = catalog.view(&Scope::All).expect("all");
    view.shelf(Shelf::Tools)
        .list
        .iter()
        .map(|e| format!("{}={}.{}", e.name, e.server, e.original))
        .collect()
}

#[test]
fn the_first_server_keeps_a_name_and_the_other_is_prefixed() {
    let offers = [server("a", &["add", "a/b"]), server("b", &["add", "sub"])];
    let (catalog, _) = Catalog::build(&offers, &Holders::new(), false);
    assert_eq!(
        names(&catalog),
        ["add=a.add", "a_b=a.a/b", "b_add=b.add", "sub=b.sub"]
    );
    let view = catalog
        .view(&Scope::One(ServerName::parse("b").expect("a name")))
        .expect("b");
    assert!(
        view.find(Shelf::Tools, "add").is_some(),
        "its own door knows the unprefixed name"
    );
    let (catalog, _) = Catalog::build(&offers, &Holders::new(), true);
    assert_eq!(names(&catalog)[0], "a_add=a.add");
}

#[test]
fn who_held_a_name_keeps_it_also_after_an_absence() {
    let (_, held) = Catalog::build(
        &[server("a", &[]), server("b", &["add"])],
        &Holders::new(),
        false,
    );
    let (catalog, held) = Catalog::build(
        &[server("a", &["add"]), server("b", &["add"])],
        &held,
        false,
    );
    assert_eq!(names(&catalog), ["a_add=a.add", "add=b.add"]);
    let mut away = server("b", &[]);
    away.1 = Arc::new(Offer::default());
    let (_, held) = Catalog::build(&[server("a", &["add"]), away], &held, false);
    let (catalog, _) = Catalog::build(
        &[server("a", &["add"]), server("b", &["add"])],
        &held,
        false,
    );
    assert_eq!(names(&catalog), ["a_add=a.add", "add=b.add"]);
}

#[test]
fn names_that_meet_after_mapping_stay_apart() {
    let offers = [server("a", &["x y", "x_y", "x/y"])];
    let (catalog, _) = Catalog::build(&offers, &Holders::new(), false);
    let names = names(&catalog);
    assert_eq!(names[..2], ["x_y=a.x y", "a_x_y=a.x_y"]);
    assert!(names[2].starts_with("a_x_y_"), "{names:?}");
}

#[test]
fn a_renamed_definition_changes_in_its_name_only() {
    let (catalog, _) = Catalog::build(
        &[server("a", &["t"]), server("b", &["t"])],
        &Holders::new(),
        false,
    );
    let entry = catalog
        .view(&Scope::All)
        .expect("all")
        .find(Shelf::Tools, "b_t")
        .expect("b_t");
    assert_eq!(
        entry.definition,
        r#"{"inputSchema":{"$defs":{},"type":"object"},"name":"b_t"}"#
    );
}

#[test]
fn pages_follow_each_other_and_foreign_cursors_are_refused() {
    let many: Vec<String> = (0..2_500).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (catalog, _) = Catalog::build(&[server("a", &many)], &Holders::new(), false);
    let view = catalog.view(&Scope::All).expect("all");
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = view
            .page(Shelf::Tools, cursor.as_deref(), |entry| {
                &*entry.name != "t7"
            })
            .expect("a page");
        seen.extend(page.entries.iter().map(|entry| entry.name.to_string()));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 2_499));
    for bad in ["", "!", "dG9vbHM6", "cHJvbXB0czp0MQ"] {
        let refusal = view
            .page(Shelf::Tools, Some(bad), |_| true)
            .expect_err("refused");
        assert!(
            matches!(
                refusal,
                Error::Unknown {
                    kind: Kind::Cursor,
                    ..
                }
            ),
            "{bad}"
        );
    }
}

#[test]
fn a_page_that_a_tool_names_belongs_to_its_server() {
    let with_page = |meta: serde_json::Value| Item {
        key: "show".into(),
        definition: Object::of(&serde_json::json!({"name": "show", "_meta": meta})),
    };
    let offer = |page: Option<serde_json::Value>| {
        Arc::new(Offer {
            tools: page.into_iter().map(with_page).collect(),
            capabilities: Some(Object::of(&serde_json::json!({"resources": {}}))),
            health: Health::Up,
            ..Offer::default()
        })
    };
    let named = |name: &str| ServerName::from_foreign(name);
    let offers = [
        (named("plain"), offer(None)),
        (
            named("new"),
            offer(Some(serde_json::json!({"ui": {"resourceUri": "ui://new"}}))),
        ),
        (
            named("old"),
            offer(Some(serde_json::json!({"ui/resourceUri": "ui://old"}))),
        ),
    ];
    let (catalog, _) = Catalog::build(&offers, &Holders::new(), false);
    let view = catalog.view(&Scope::All).expect("a view");
    assert_eq!(view.resource_owner("ui://new"), Some(&named("new")));
    assert_eq!(view.resource_owner("ui://old"), Some(&named("old")));
    assert_eq!(view.resource_owner("ui://other"), None);
}
