use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::clock;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn clear_token(state_dir: &Path, role: Role) -> String {
    let text = fs::read_to_string(state_dir.join(format!("admin-token-{role}"))).unwrap();
    format!("Bearer {}", text.trim())
}

#[test]
fn the_first_start_makes_a_token_for_each_role() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let tokens = Tokens::open_or_create(&state).unwrap();
    let now = clock::now();
    for role in Role::ALL {
        let token = clear_token(&state, role);
        let who = tokens.authorize(Some(&token), role, CLIENT, now).unwrap();
        assert_eq!((who.name.as_str(), who.role), (role.as_str(), role));
    }
    for file in fs::read_dir(&state).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let read = clear_token(&state, Role::Read);
    assert!(!fs::read_to_string(state.join("admin-tokens.toml")).unwrap().contains(read.trim_start_matches("Bearer ")));
    let again = Tokens::open_or_create(&state).unwrap();
    assert!(again.authorize(Some(&read), Role::Read, CLIENT, now).is_ok(), "the second start makes no new ones");
}

#[test]
fn roles_include_the_ones_before() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open_or_create(dir.path()).unwrap();
    let now = clock::now();
    let outcome = |role, needed| tokens.authorize(Some(&clear_token(dir.path(), role)), needed, CLIENT, now);
    assert!(outcome(Role::Secrets, Role::Read).is_ok());
    assert!(outcome(Role::Operate, Role::Operate).is_ok());
    assert_eq!(outcome(Role::Read, Role::Operate), Err(AdminDenial::Role));
    assert_eq!(outcome(Role::Operate, Role::Secrets), Err(AdminDenial::Role));
}

#[test]
fn wrong_tokens_lock_out_and_missing_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open_or_create(dir.path()).unwrap();
    let now = clock::now();
    let good = clear_token(dir.path(), Role::Read);
    for header in [None, Some(""), Some("Basic eDp5"), Some("Bearer "), Some("Bearer")] {
        assert_eq!(tokens.authorize(header, Role::Read, CLIENT, now), Err(AdminDenial::Missing), "{header:?}");
    }
    for _ in 0..10 {
        assert_eq!(tokens.authorize(Some("Bearer guess"), Role::Read, CLIENT, now), Err(AdminDenial::Wrong));
    }
    let denial = tokens.authorize(Some(&good), Role::Read, CLIENT, now).unwrap_err();
    assert_eq!(denial.retry_after_seconds(), Some(60));
    assert_eq!(denial.reason().status, 429);
    let other: IpAddr = [192, 0, 2, 7].into();
    assert!(tokens.authorize(Some(&good), Role::Read, other, now).is_ok());
    assert!(tokens.authorize(Some(&good), Role::Read, CLIENT, now + Duration::from_secs(60)).is_ok());
}

#[test]
fn added_and_revoked_tokens_count_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open_or_create(dir.path()).unwrap();
    let now = clock::now();
    let token = format!("bearer {}", add(dir.path(), "prometheus", Role::Read).unwrap());
    assert_eq!(tokens.authorize(Some(&token), Role::Read, CLIENT, now).unwrap().name, "prometheus");
    assert!(matches!(add(dir.path(), "prometheus", Role::Read), Err(TokenError::NameTaken(_))));
    assert!(matches!(add(dir.path(), "a\"b", Role::Read), Err(TokenError::Name(_))));
    assert_eq!(list(dir.path()).unwrap().len(), 4);
    revoke(dir.path(), "prometheus").unwrap();
    assert_eq!(tokens.authorize(Some(&token), Role::Read, CLIENT, now), Err(AdminDenial::Wrong));
    assert!(matches!(revoke(dir.path(), "prometheus"), Err(TokenError::Unknown(_))));
}

#[test]
fn refuses_to_open_what_others_can_read_or_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    Tokens::open_or_create(dir.path()).unwrap();
    let file = dir.path().join("admin-tokens.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Tokens::open_or_create(dir.path()), Err(TokenError::Readable(_))));
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "[[token]]\nname = 5").unwrap();
    assert!(matches!(Tokens::open_or_create(dir.path()), Err(TokenError::Damaged { .. })));
}

#[test]
fn roles_are_written_as_words() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert_eq!("root".parse::<Role>().unwrap_err().to_string(), "\"root\" is not a role (read, operate or secrets)");
}
