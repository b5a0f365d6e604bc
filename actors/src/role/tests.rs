#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

const SQL: &str = "name: sql\nabout: queries\nacts_as: developer\nphases: [build]\nprompt: You know SQL.\nfiles: ['db/**']\nforms: [function]\n";

#[test]
fn the_built_in_roles_are_enough() {
    let roles = Roles::read(None).unwrap();
    assert_eq!(roles.of(Phase::Design).next().unwrap().name, "architect");
    assert_eq!(roles.builder("a.py", 3).unwrap().name, "developer");
}

#[test]
fn a_new_role_takes_turns_where_its_files_are() {
    let place = dir(&[("sql.yaml", SQL), ("notes.txt", "no role")]);
    let roles = Roles::read(Some(place.path())).unwrap();
    let names = |path| [0, 1, 2].map(|nth| roles.builder(path, nth).unwrap().name.clone());
    assert_eq!(names("db/a.py"), ["developer", "sql", "developer"]);
    assert_eq!(names("src/a.py"), ["developer", "developer", "developer"]);
    assert_eq!(roles.builder("db/a.py", 1).unwrap().form(Form::File), Form::Function);
}

#[test]
fn a_role_with_the_name_of_a_built_in_takes_its_place() {
    let own = SQL.replace("name: sql", "name: developer");
    let place = dir(&[("own.yaml", &own)]);
    let roles = Roles::read(Some(place.path())).unwrap();
    assert_eq!(roles.builder("src/a.py", 0).unwrap().prompt, "You know SQL.");
    assert_eq!(roles.all().len(), 3);
    let place = dir(&[("a.yaml", SQL), ("b.yaml", SQL)]);
    assert!(Roles::read(Some(place.path())).unwrap_err().what.contains("another file"));
}

#[test]
fn a_template_is_a_role() {
    let role = read::parse(&template("mine"), Path::new("mine.yaml")).unwrap();
    assert_eq!((role.name.as_str(), role.acts_as), ("mine", Class::Developer));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (from, to, line, said) in [
        ("name: sql", "name: S Q L", 1, "no name"),
        ("about: queries", "abuot: queries", 2, "unknown field"),
        ("developer", "king", 3, "unknown variant"),
        ("acts_as: developer", "acts_as: architect", 3, "changes nothing"),
        ("[build]", "[docs]", 4, "nobody is asked"),
        ("You know SQL.", "''", 5, "empty"),
        ("db/**", "db/[", 6, "not a glob"),
        ("forms: [function]", "tools: [exec]", 7, "no tool"),
        ("forms: [function]", "temperature: 7", 7, "0 to 2"),
        ("forms: [function]", "steps: 0", 7, "is 0"),
        ("prompt: You know SQL.\n", "", 0, "missing field"),
    ] {
        let error = read::parse(&SQL.replace(from, to), Path::new("x.yaml")).unwrap_err();
        assert!(error.what.contains(said), "{to}: {error}");
        assert!(line == 0 || error.at.is_some_and(|(at, _)| at == line), "{to}: {error}");
        assert!(!error.remedy.is_empty(), "{error}");
    }
}
