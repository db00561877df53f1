use proptest::prelude::{prop_assert, prop_assert_eq, prop_assume, proptest};

use super::*;

fn every_key() -> Vec<(Key, &'static str)> {
    vec![
        (Key::block(), "gh:e:{block}"),
        (Key::block_log(), "gh:e:{block}:log"),
        (Key::limit("per-client", 28_333).unwrap(), "gh:e:limit:{per-client}:28333"),
        (Key::edge_nodes(), "gh:e:nodes"),
        (Key::catalog(), "gh:b:{catalog}"),
        (Key::catalog_revision(7), "gh:b:{catalog}:7"),
        (Key::catalog_log(), "gh:b:{catalog}:log"),
        (Key::app("shop").unwrap(), "gh:b:app:{shop}"),
        (Key::app_index(), "gh:b:apps"),
        (Key::session("shop", "9f86").unwrap(), "gh:b:session:{shop}:9f86"),
        (Key::subject("9f86").unwrap(), "gh:b:subject:{9f86}"),
        (Key::changes(), "gh:b:changes"),
        (Key::quota("daily", "shop", 19_000).unwrap(), "gh:b:quota:{daily:shop}:19000"),
        (Key::quota_counts("burst", 19_000).unwrap(), "gh:b:quota:{burst}:19000"),
        (Key::nonce("k1", "abc").unwrap(), "gh:b:nonce:{k1}:abc"),
        (Key::bloom(), "gh:b:bloom"),
        (Key::shed(), "gh:b:shed"),
        (Key::registry("orders").unwrap(), "gh:b:registry:{orders}"),
        (Key::business_nodes(), "gh:b:nodes"),
        (Key::cache("orders.list", "9f86").unwrap(), "gh:b:cache:{orders.list}:9f86"),
        (Key::purges(), "gh:b:purges"),
    ]
}

#[test]
fn keys_have_the_documented_names() {
    for (key, name) in every_key() {
        assert_eq!(key.as_str(), name);
        assert!(name.starts_with(key.owner().prefix()), "{name}");
    }
}

#[test]
fn windows_of_one_counter_share_their_place() {
    assert_eq!(Key::limit("a", 1).unwrap().hash_tag(), Key::limit("a", 2).unwrap().hash_tag());
    assert_eq!(Key::block().hash_tag(), Key::block_log().hash_tag());
    let quota = |window| Key::quota("daily", "shop", window).unwrap();
    assert_eq!(quota(1).hash_tag(), quota(2).hash_tag());
    assert_eq!(quota(1).hash_tag(), "daily:shop");
    assert_eq!(Key::catalog().hash_tag(), "catalog");
    assert_eq!(Key::catalog_revision(7).hash_tag(), Key::catalog_log().hash_tag());
}

#[test]
fn refuses_names_that_are_empty_or_too_long() {
    assert_eq!(Key::app(""), Err(KeyError::Empty));
    assert_eq!(Key::quota("daily", "", 1), Err(KeyError::Empty));
    assert_eq!(Key::app(&"x".repeat(513)), Err(KeyError::TooLong));
    assert!(Key::app(&"x".repeat(512)).is_ok());
}

#[test]
fn a_name_cannot_choose_its_place_or_another_key() {
    assert_eq!(Key::app("a}:{b").unwrap().as_str(), "gh:b:app:{a%7D%3A%7Bb}");
    assert_ne!(Key::quota("a:b", "c", 1), Key::quota("a", "b:c", 1));
    assert_ne!(Key::nonce("a", "b:c"), Key::nonce("a:b", "c"));
}

proptest! {
    #[test]
    fn different_names_give_different_keys(
        first in ("\\PC{1,40}", "\\PC{1,40}"),
        second in ("\\PC{1,40}", "\\PC{1,40}"),
    ) {
        prop_assume!(first != second);
        let quota = |(rule, subject): &(String, String)| Key::quota(rule, subject, 1).unwrap();
        prop_assert!(quota(&first) != quota(&second));
    }

    #[test]
    fn the_hash_tag_is_the_name_and_nothing_else(name in "\\PC{1,40}") {
        let key = Key::limit(&name, 5).unwrap();
        let tag = key.hash_tag();
        prop_assert_eq!(key.as_str(), format!("gh:e:limit:{{{tag}}}:5"));
        let holds_delimiter = tag.contains(['{', '}', ':']);
        prop_assert!(!holds_delimiter);
    }
}
