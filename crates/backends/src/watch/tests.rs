//! What is told of files that change, appear and go.

use super::*;

fn names(folder: &Path, paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| {
        let inside = path.strip_prefix(folder).expect("inside");
        inside.display().to_string()
    };
    paths.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn files_that_change_appear_and_go_are_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("deep/er")).expect("a folder");
    fs::create_dir(at("__pycache__")).expect("a folder");
    for name in ["same", "changes", "goes", "deep/er/changes"] {
        fs::write(at(name), "before").expect("written");
    }
    let mut watch = Watch::new([folder.path().to_owned(), at("not there")]);
    for name in ["changes", "deep/er/changes", "appears", "deep/appears"] {
        fs::write(at(name), "after this").expect("written");
    }
    for name in [".hidden", "__pycache__/of.pyc"] {
        fs::write(at(name), "of no interest").expect("written");
    }
    fs::remove_file(at("goes")).expect("removed");
    let told = names(folder.path(), &watch.changed().await);
    assert_eq!(
        told,
        [
            "appears",
            "changes",
            "deep/appears",
            "deep/er/changes",
            "goes"
        ]
    );
    // Nothing of it comes again.
    fs::write(at("same"), "not any more").expect("written");
    let told = names(folder.path(), &watch.changed().await);
    assert_eq!(told, ["same"]);
}

#[test]
fn a_file_that_is_being_written_is_not_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "1").expect("written");
    let mut watch = Watch::new([file.clone()]);
    let mut look_at = |text: &str| {
        fs::write(&file, text).expect("written");
        let now = look(&watch.roots);
        watch.compare(now)
    };
    for text in ["12", "123", "1234"] {
        assert_eq!(look_at(text), Vec::<PathBuf>::new());
    }
    let now = look(&watch.roots);
    assert_eq!(watch.compare(now), [file]);
}

#[test]
fn another_file_of_the_same_length_and_links_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("one"), "1").expect("written");
    fs::write(at("two"), "2").expect("written");
    std::os::unix::fs::symlink(at("one"), at("link")).expect("a link");
    std::os::unix::fs::symlink(folder.path(), at("round")).expect("a link");
    let mut watch = Watch::new([at("link")]);
    fs::remove_file(at("link")).expect("removed");
    std::os::unix::fs::symlink(at("two"), at("link")).expect("a link");
    for expected in [vec![], vec![at("link")]] {
        let now = look(&watch.roots);
        assert_eq!(watch.compare(now), expected);
    }
    // A link that leads round in a circle ends nowhere.
    assert_eq!(look(&[folder.path().to_owned()]).len(), 3);
}

#[test]
fn what_is_followed_can_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("one"), "1").expect("written");
    fs::write(at("two"), "2").expect("written");
    let mut watch = Watch::new([at("one")]);
    watch.follow([at("two")]);
    fs::write(at("one"), "11").expect("written");
    fs::write(at("two"), "22").expect("written");
    for expected in [vec![], vec![at("two")], vec![]] {
        let now = look(&watch.roots);
        assert_eq!(watch.compare(now), expected);
    }
}
