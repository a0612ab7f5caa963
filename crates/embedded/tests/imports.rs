//! Modules that cannot be imported, and what is said of them.

mod support;

use std::path::PathBuf;

use serde_json::json;
use support::Module;
use toolbus_model::{Cause, Error, Health};

async fn cause(module: &Module) -> Cause {
    match &module.offer().await.health {
        Health::Down(Error::Unavailable(cause)) => (**cause).clone(),
        other => panic!("not down but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_module_shows_the_end_of_its_traceback() {
    let module = Module::new("def helper():\n    return 1 // 0\n\nhelper()\n");
    let cause = cause(&module).await;
    assert!(cause.what.contains("ZeroDivisionError"), "{cause:?}");
    let tail = cause.stderr.expect("a traceback");
    assert!(tail.contains("return 1 // 0"), "{tail}");
    assert!(tail.contains("served.py\", line 2"), "{tail}");
    let called = module.call("helper", json!({})).await;
    assert!(matches!(called, Err(Error::Unavailable(_))), "{called:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_exits_is_down_and_nothing_else_is() {
    let exiting = Module::new("import sys\nsys.exit('not today')\n");
    let fine = Module::new("def fine() -> str:\n    return 'fine'\n");
    assert!(cause(&exiting).await.what.contains("not today"));
    assert_eq!(fine.text("fine", json!({})).await, "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_with_a_remedy() {
    let module = Module::new("import no_such_package_of_anybody\n");
    let cause = cause(&module).await;
    assert!(
        cause.what.contains("no_such_package_of_anybody"),
        "{cause:?}"
    );
    assert!(cause.remedy.expect("a remedy").contains("`venv`"));
    let nothing = Module::with("", |mut settings| {
        settings.module = "there_is_no_such_module".into();
        settings
    });
    assert!(
        self::cause(&nothing)
            .await
            .what
            .contains("there_is_no_such_module")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_of_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("venv");
    std::fs::create_dir_all(other.join("lib/python2.7/site-packages")).expect("made");
    let module = Module::with("def f() -> None: ...", |mut settings| {
        settings.venv = Some(other.clone());
        settings
    });
    let cause = cause(&module).await;
    assert!(
        cause.what.contains("is no virtual environment of python3"),
        "{cause:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_path_are_looked_into() {
    let folder = tempfile::tempdir().expect("a folder");
    let code = "def named() -> str:\n    return __name__\n";
    std::fs::write(folder.path().join("found_by_its_name.py"), code).expect("written");
    let module = Module::with("", |mut settings| {
        settings.module = "found_by_its_name".into();
        settings.path = vec![PathBuf::from(folder.path())];
        settings
    });
    assert_eq!(module.text("named", json!({})).await, "found_by_its_name");
}
