//! Files and the contract's URIs as resources.

use toolbus_model::Notice;

use super::super::survey::Surveyor;
use super::*;

#[tokio::test]
async fn files_are_listed_and_read_with_their_types() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.md", "# ä\n");
    write(folder.path(), "pic.png", [0x89, b'P', b'N', b'G']);
    write(folder.path(), "deep/mein heft.txt", "x");
    write(folder.path(), "plain", "\u{feff}x");
    write(folder.path(), "bytes", [0xff, 0]);
    let content = Content::around("files", docs(folder.path()), None);
    let offer = offered(&content, |_| true).await;
    assert_eq!(
        listed(&offer.resources[0]),
        json!({"uri": "docs://a.md", "name": "a.md", "mimeType": "text/markdown"})
    );
    assert_eq!(keys(&offer.templates), ["docs://{+path}"]);
    let seen = |content: &Value| (content["mimeType"].clone(), content.get("text").is_some());
    for (uri, wanted) in [
        ("docs://a.md", (json!("text/markdown"), true)),
        ("docs://pic.png", (json!("image/png"), false)),
        ("docs://deep/mein%20heft.txt", (json!("text/plain"), true)),
        ("docs://plain", (json!("text/plain"), true)),
        ("docs://bytes", (json!("application/octet-stream"), false)),
    ] {
        let content = read(&content, uri).await.expect(uri);
        assert_eq!(seen(&content), wanted, "{uri}");
    }
    assert_eq!(text(&content, "docs://a.md").await, "# ä\n");
    assert_eq!(
        read(&content, "docs://pic.png").await.expect("read")["blob"],
        "iVBORw=="
    );
    let capabilities: Value = offer
        .capabilities
        .as_ref()
        .expect("settled")
        .to_raw()
        .read()
        .expect("JSON");
    assert_eq!(
        capabilities,
        json!({"completions": {}, "resources": {"subscribe": true, "listChanged": true}})
    );
}

#[tokio::test]
async fn what_is_served_keeps_to_its_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    for n in 0..20 {
        write(folder.path(), &format!("f{n:02}.md"), "x");
    }
    write(folder.path(), "a/b/c.md", "x");
    write(folder.path(), "a/b/c/d.md", "x");
    write(folder.path(), "build/x.md", "x");
    write(folder.path(), "0-large.md", "x".repeat(101));
    write(folder.path(), "1-fits.md", "x".repeat(100));
    write(folder.path(), "x.py", "x");
    let mut settings = docs(folder.path());
    let files = &mut settings.folders[0];
    files.include.push(Glob::parse("*.md").expect("a pattern"));
    files.exclude.push(Glob::parse("build").expect("a pattern"));
    (files.max_files, files.max_bytes, files.max_depth) = (10, 100, 3);
    let content = Content::around("files", settings, None);
    let offer = offered(&content, |_| true).await;
    let uris = keys(&offer.resources);
    assert_eq!(
        (uris.len(), uris[0], uris[1]),
        (10, "docs://1-fits.md", "docs://a/b/c.md")
    );
    assert_eq!(
        text(&content, "docs://f19.md").await,
        "x",
        "not listed, and there"
    );
    for uri in [
        "docs://a/b/c/d.md",
        "docs://build/x.md",
        "docs://x.py",
        "docs://nowhere.md",
    ] {
        let refused = read(&content, uri).await.expect_err(uri);
        assert!(refused.to_string().contains(uri), "{refused}");
    }
    let refused = read(&content, "docs://0-large.md").await;
    assert_eq!(
        refused,
        Err(Error::TooLarge {
            what: "resource",
            limit: 100
        })
    );
}

#[tokio::test]
async fn the_contracts_uris_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let skills = folder.path().join("skills");
    write(
        &skills,
        "git/SKILL.md",
        "---\nname: Git\ndescription: Commits\n---\n# Git\n",
    );
    write(&skills, "git/notes/more.md", "more");
    write(&skills, "git/scripts/commit.py", "secret = 1");
    write(&skills, "web/SKILL.md", "---\nname: [broken]\n---\n");
    write(&skills, "no_skill/README.md", "x");
    write(&skills, "stray.md", "x");
    let settings = Settings {
        skills: Some(skills.clone()),
        omni: true,
        memory: Some(folder.path().join("MEMORY.md")),
        ..Settings::default()
    };
    settings.check().expect("good");
    let content = Content::around("omni", settings, None);
    let offer = offered(&content, |_| true).await;
    let of_skills = [
        "omni://skill/git/SKILL.md",
        "omni://skill/git/notes/more.md",
        "omni://skill/web/SKILL.md",
    ];
    assert_eq!(
        keys(&offer.resources)[..3],
        [
            "omni://system/context",
            "omni://system/memory",
            "omni://system/stats"
        ]
    );
    assert_eq!(keys(&offer.resources)[3..], of_skills);
    assert_eq!(keys(&offer.templates), ["omni://skill/{skill}/{name}"]);
    let head = listed(&offer.resources[3]);
    assert_eq!(
        (&head["title"], &head["description"]),
        (&json!("Git"), &json!("Commits"))
    );
    assert_eq!(
        text(&content, "omni://skill/git/notes/more.md").await,
        "more"
    );
    let json_of =
        async |uri| -> Value { serde_json::from_str(&text(&content, uri).await).expect("JSON") };
    let stats = json_of("omni://system/stats").await;
    assert_eq!(
        (&stats["tool_count"], &stats["ready"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        stats["uptime_seconds"].as_f64() >= Some(0.0) && stats["memory_mb"].as_f64() > Some(1.0),
        "{stats}"
    );
    let context = json_of("omni://system/context").await;
    assert_eq!(
        (&context["server"], &context["skills"]),
        (&json!("omni"), &json!(["git", "web"]))
    );
    assert_eq!(
        text(&content, "omni://system/memory").await,
        "",
        "nothing was remembered yet"
    );
    write(folder.path(), "MEMORY.md", "remember");
    assert_eq!(text(&content, "omni://system/memory").await, "remember");
    for uri in [
        "omni://system/nothing",
        "omni://skill/git/scripts/commit.py",
        "omni://skill/no_skill/README.md",
        "omni://skill/stray.md",
        "omni://skill/../MEMORY.md",
        "other://x",
    ] {
        let refused = read(&content, uri).await;
        assert_eq!(
            refused,
            Err(Error::Unknown {
                kind: Kind::Resource,
                name: uri.to_owned()
            })
        );
    }
}

#[tokio::test]
async fn changes_are_told_to_those_who_listen() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.md", "1");
    write(folder.path(), "b.md", "1");
    let content = Content::around("files", docs(folder.path()), None);
    let before = offered(&content, |_| true).await;
    let wanted = ["docs://a.md", "docs://none.md", "docs://../x"]
        .map(Arc::from)
        .to_vec();
    let filter = Filter {
        resources: wanted,
        tasks: Vec::new(),
    };
    let mut listening = content.listen(filter, &seed()).await.expect("listens");
    assert_eq!(listening.honoured.resources, ["docs://a.md".into()]);
    write(folder.path(), "b.md", "22");
    write(folder.path(), "a.md", "22");
    let told = timeout(PATIENCE, listening.notices.recv())
        .await
        .expect("in time");
    let Some(Notice::Resource(uri, params)) = told else {
        panic!("{told:?}");
    };
    assert_eq!(
        (&*uri, params.bytes()),
        ("docs://a.md", &br#"{"uri":"docs://a.md"}"#[..])
    );
    assert_eq!(
        content.offer().borrow().changes,
        before.changes,
        "an edit changes no list"
    );
    write(folder.path(), "c.md", "1");
    let after = offered(&content, |offer| offer.resources.len() == 3).await;
    assert_eq!(after.changes.resources, before.changes.resources + 1);
    std::fs::remove_file(folder.path().join("a.md")).expect("removed");
    let told = timeout(PATIENCE, listening.notices.recv())
        .await
        .expect("in time");
    assert!(matches!(told, Some(Notice::Resource(uri, _)) if &*uri == "docs://a.md"));
    offered(&content, |offer| offer.resources.len() == 2).await;
    content.stop().await;
    assert_eq!(timeout(PATIENCE, listening.notices.recv()).await, Ok(None));
}

#[test]
fn a_folder_that_cannot_be_read_deletes_nothing() {
    let base = tempfile::tempdir().expect("a folder");
    let (folder, away) = (base.path().join("docs"), base.path().join("away"));
    write(&folder, "a.md", "1");
    let settings = Arc::new(docs(&folder));
    let mut surveyor = Surveyor::new(Arc::clone(&settings), settings.spaces().into());
    let (first, said) = surveyor.look(&State::default());
    assert_eq!(
        (keys(&first.lists.resources), said.len()),
        (vec!["docs://a.md"], 0)
    );
    std::fs::rename(&folder, &away).expect("away");
    let (second, said) = surveyor.look(&first);
    assert_eq!(
        (second.changes.resources, keys(&second.lists.resources)),
        (0, vec!["docs://a.md"])
    );
    assert!(
        said.len() == 1 && said[0].contains("cannot be read"),
        "{said:?}"
    );
    let (third, said) = surveyor.look(&second);
    assert!(said.is_empty(), "said once: {said:?}");
    std::fs::remove_file(away.join("a.md")).expect("removed");
    std::fs::rename(&away, &folder).expect("back");
    let (fourth, _) = surveyor.look(&third);
    assert_eq!(
        (fourth.changes.resources, fourth.lists.resources.len()),
        (1, 0)
    );
}

#[test]
fn settings_that_cannot_be_right_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "file", "x");
    let with = |uris: &[&str]| {
        let folders = uris
            .iter()
            .map(|uri| Files::of(folder.path().to_owned(), (*uri).to_owned()));
        Settings {
            folders: folders.collect(),
            omni: true,
            skills: Some(folder.path().to_owned()),
            ..Settings::default()
        }
    };
    assert_eq!(
        with(&["docs://", "other://x/", "omni://mine/"]).check(),
        Ok(())
    );
    for uri in [
        "docs",
        "docs://a",
        "Docs://",
        "docs:///..?x/",
        "docs://{x}/",
        "docs:x/",
    ] {
        let told = with(&[uri]).check().expect_err(uri);
        assert!(
            told.contains("cannot begin a URI") && told.contains(uri),
            "{told}"
        );
    }
    for uris in [
        ["a://", "a://"],
        ["a://", "a://b/"],
        ["omni://", "a://"],
        ["omni://system/x/", "a://"],
    ] {
        let told = with(&uris).check().expect_err("alike");
        assert!(told.contains("begin alike"), "{told}");
    }
    for (path, why) in [("nowhere", "does not exist"), ("file", "not a folder")] {
        let path = folder.path().join(path);
        let settings = Settings {
            prompts: Some(path),
            ..Settings::default()
        };
        let told = settings.check().expect_err(why);
        assert!(told.contains("prompts: ") && told.contains(why), "{told}");
    }
}
