//! Prompts and completions.

use super::*;

const HELLO: &str = "---\ndescription: Greets\narguments:\n  - name: who\n    required: true\n    values: [Ada, Alan, Grace]\n---\nHello {{who}}";

fn prompts(folder: &Path) -> Settings {
    Settings {
        prompts: Some(folder.to_owned()),
        ..Settings::default()
    }
}

async fn get(content: &Content, name: &str, arguments: Value) -> Result<String, Error> {
    let result = ask(
        content,
        "prompts/get",
        json!({"name": name, "arguments": arguments}),
    )
    .await?;
    Ok(result["messages"][0]["content"]["text"]
        .as_str()
        .expect("text")
        .to_owned())
}

/// Asks again until the answer is this one.
async fn becomes(content: &Content, name: &str, wanted: &str) {
    let got = async {
        while get(content, name, json!({"who": "Ada"}))
            .await
            .ok()
            .as_deref()
            != Some(wanted)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, got)
        .await
        .unwrap_or_else(|_| panic!("never {wanted:?}"));
}

#[tokio::test]
async fn prompts_are_read_anew_and_survive_a_broken_version() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "hello.md", HELLO);
    write(
        folder.path(),
        "deep/other.md",
        "---\nname: hello\n---\nAnother of this name",
    );
    write(folder.path(), "broken.md", "---\nname: [\n---\n");
    write(folder.path(), "notes.txt", "no prompt");
    let content = Content::around("prompts", prompts(folder.path()), None);
    let offer = offered(&content, |_| true).await;
    assert_eq!(keys(&offer.prompts), ["hello"]);
    // The first file in the order of paths has the name.
    assert_eq!(
        get(&content, "hello", json!({})).await.as_deref(),
        Ok("Another of this name")
    );
    std::fs::remove_file(folder.path().join("deep/other.md")).expect("removed");
    becomes(&content, "hello", "Hello Ada").await;
    write(
        folder.path(),
        "hello.md",
        HELLO.replace("Hello", "Good day"),
    );
    becomes(&content, "hello", "Good day Ada").await;
    write(
        folder.path(),
        "hello.md",
        "---\narguments: [who\n---\nBroken {{who}}",
    );
    write(folder.path(), "new.md", "---\n---\nNew");
    becomes_listed(&content, &["hello", "new"]).await;
    assert_eq!(
        get(&content, "hello", json!({"who": "Ada"}))
            .await
            .as_deref(),
        Ok("Good day Ada")
    );
    write(folder.path(), "hello.md", HELLO);
    becomes(&content, "hello", "Hello Ada").await;
    std::fs::remove_file(folder.path().join("hello.md")).expect("removed");
    becomes_listed(&content, &["new"]).await;
    let refused = get(&content, "hello", json!({})).await;
    assert_eq!(
        refused,
        Err(Error::Unknown {
            kind: Kind::Prompt,
            name: "hello".to_owned()
        })
    );
}

async fn becomes_listed(content: &Content, names: &[&str]) {
    let offer = offered(content, |offer| keys(&offer.prompts) == names).await;
    assert!(offer.changes.prompts > 0);
}

#[tokio::test]
async fn arguments_and_variables_are_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "prompts/hello.md", HELLO);
    for n in 0..150 {
        write(folder.path(), &format!("docs/file {n:03}.md"), "x");
    }
    for skill in ["git", "github", "web"] {
        write(folder.path(), &format!("skills/{skill}/SKILL.md"), "x");
        write(folder.path(), &format!("skills/{skill}/{skill}.md"), "x");
    }
    let settings = Settings {
        prompts: Some(folder.path().join("prompts")),
        skills: Some(folder.path().join("skills")),
        ..docs(&folder.path().join("docs"))
    };
    let content = Content::around("all", settings, None);
    let complete = async |reference: Value, name: &str, typed: &str, context: Value| {
        let params = json!({"ref": reference, "argument": {"name": name, "value": typed}, "context": {"arguments": context}});
        ask(&content, "completion/complete", params)
            .await
            .map(|result| result["completion"].clone())
    };
    let (hello, skill) = (
        json!({"type": "ref/prompt", "name": "hello"}),
        json!({"type": "ref/resource", "uri": "omni://skill/{skill}/{name}"}),
    );
    let path = json!({"type": "ref/resource", "uri": "docs://{+path}"});
    let found = complete(hello.clone(), "who", "a", json!({})).await;
    assert_eq!(
        found,
        Ok(json!({"values": ["Ada", "Alan"], "total": 2, "hasMore": false}))
    );
    let found = complete(hello.clone(), "who", "ra", json!({}))
        .await
        .expect("found");
    assert_eq!(found["values"], json!(["Grace"]));
    let found = complete(path.clone(), "path", "file%20", json!({}))
        .await
        .expect("found");
    assert_eq!(
        (
            found["values"].as_array().map(Vec::len),
            &found["total"],
            &found["hasMore"]
        ),
        (Some(100), &json!(150), &json!(true))
    );
    assert_eq!(found["values"][0], "file%20000.md");
    let found = complete(skill.clone(), "skill", "git", json!({}))
        .await
        .expect("found");
    assert_eq!(found["values"], json!(["git", "github"]));
    let found = complete(skill.clone(), "name", "", json!({"skill": "web"}))
        .await
        .expect("found");
    assert_eq!(found["values"], json!(["SKILL.md", "web.md"]));
    let found = complete(skill.clone(), "name", "g", json!({}))
        .await
        .expect("found");
    assert_eq!(found["values"], json!(["git.md", "github.md"]));
    for (reference, name, why) in [
        (&hello, "whom", "prompt \"hello\" has no argument \"whom\""),
        (&path, "file", "has no variable \"file\""),
    ] {
        let told = complete(reference.clone(), name, "", json!({}))
            .await
            .expect_err(why);
        assert!(told.to_string().contains(why), "{told}");
    }
}
