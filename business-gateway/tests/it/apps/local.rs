//! One node that works from its own files.

use std::time::Duration;

use business_gateway::store::apps::SessionLookup;
use business_gateway::store::apps::change::rotate_secret;

use super::*;

async fn site(more: &str) -> Site {
    let service = Service::start().await;
    Site::start(&(catalog(&[service.address], "") + more)).await
}

#[tokio::test]
async fn an_application_of_a_file_is_known_at_once_and_cannot_be_changed() {
    let site = site("\n[[app]]\nkey = \"shop\"\nsubjects = [\"CN=shop\"]\n").await;
    let apps = &site.gateway.apps;
    assert_eq!(look(&site, "shop").await, "shop");
    assert!(matches!(apps.find_by_subject("CN=shop", clock::now()).await, Lookup::Found(_)));
    let refused = apps.change("shop", None, |_record| Ok(())).await.unwrap_err();
    assert!(refused.to_string().contains("stands in a file"), "{refused}");
    assert!(apps.create(Some("shop".to_owned()), named("x")).await.is_err());
    site.write("catalog.toml", &catalog(&["127.0.0.1:9".parse().unwrap()], ""));
    site.gateway.live.reload();
    assert_eq!(look(&site, "shop").await, "UNKNOWN");
}

#[tokio::test]
async fn subjects_lead_to_one_application() {
    let site = site("").await;
    let apps = &site.gateway.apps;
    let with = |subject: &str| Record { subjects: vec![subject.to_owned()], ..named("shop") };
    apps.create(Some("shop".to_owned()), with("CN=shop")).await.unwrap();
    let taken = apps.create(Some("shed".to_owned()), with("CN=shop")).await.unwrap_err();
    assert!(taken.to_string().contains("is that of application \"shop\""), "{taken}");
    let of = async |subject: &str| match apps.find_by_subject(subject, clock::now()).await {
        Lookup::Found(app) => app.key.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!((of("CN=shop").await, of("CN=shed").await), ("shop".to_owned(), "Unknown".to_owned()));
    let other = |record: &mut Record| {
        record.subjects = vec!["CN=other".to_owned()];
        Ok(())
    };
    apps.change("shop", None, other).await.unwrap();
    assert_eq!((of("CN=shop").await, of("CN=other").await), ("Unknown".to_owned(), "shop".to_owned()));
    apps.create(Some("shed".to_owned()), with("CN=shop")).await.unwrap();
    assert_eq!(of("CN=shop").await, "shed");
}

#[tokio::test]
async fn an_authorisation_holds_for_one_application_until_it_is_revoked() {
    let site = site("").await;
    let apps = &site.gateway.apps;
    for key in ["shop", "shed"] {
        apps.create(Some(key.to_owned()), named(key)).await.unwrap();
    }
    let hour = Duration::from_secs(3_600);
    let (token, _) = apps.authorize("shop", "ann".to_owned(), vec!["read".to_owned()], hour).await.unwrap();
    let find = async |app: &str, token: &str| apps.find_session(app, token, clock::now()).await;
    let SessionLookup::Found(session) = find("shop", &token.clear).await else { panic!("unknown") };
    assert_eq!((&*session.user, &*session.scopes[0]), ("ann", "read"));
    assert!(matches!(find("shed", &token.clear).await, SessionLookup::Unknown));
    assert!(matches!(find("shop", &token.id).await, SessionLookup::Unknown), "the id is no token");
    assert!(matches!(find("shop", "ut_aaaaaaaaaaaaaaaaaaaaaaaaaa").await, SessionLookup::Unknown));
    assert_eq!(apps.id_of_token("shop", &token.clear).unwrap(), token.id);
    apps.revoke("shop", &token.id).await.unwrap();
    assert!(matches!(find("shop", &token.clear).await, SessionLookup::Unknown));
    assert!(apps.revoke("shop", &token.id).await.is_err());
    assert!(apps.authorize("gone", "ann".to_owned(), Vec::new(), hour).await.is_err());
}

#[tokio::test]
async fn an_api_key_is_found_by_its_secret() {
    let site = site("").await;
    let apps = &site.gateway.apps;
    apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    let mut made = Vec::new();
    for expires in [None, Some(1_000)] {
        let (fresh, record) = apps.make_api_key("shop", expires).unwrap();
        made.push(fresh);
        let add = |app: &mut Record| {
            app.api_keys.push(record);
            Ok(())
        };
        apps.change("shop", None, add).await.unwrap();
    }
    let Lookup::Found(app) = apps.find("shop", clock::now()).await else { panic!("unknown") };
    let found = |clear: &str, now: u64| {
        let (_, secret) = clear.split_once('.').unwrap();
        apps.api_key(&app, secret, now).map(|key| key.id.to_string())
    };
    assert_eq!(found(&made[0].clear, 2_000), Some(made[0].id.clone()));
    assert_eq!(found(&made[1].clear, 999), Some(made[1].id.clone()));
    assert_eq!(found(&made[1].clear, 1_000), None, "over");
    assert_eq!(found("shop.wrong", 999), None);
}

#[tokio::test]
async fn two_secrets_are_live_while_one_is_replaced() {
    let site = site("").await;
    let apps = &site.gateway.apps;
    let (_, first) = apps.create(Some("shop".to_owned()), named("shop")).await.unwrap();
    let rotate = |keep| move |record: &mut Record| rotate_secret(record, Duration::from_secs(keep));
    let (_, second) = apps.change("shop", None, rotate(3_600)).await.unwrap();
    let secrets = async || {
        let Lookup::Found(app) = apps.find("shop", clock::now()).await else { panic!("unknown") };
        let shown = app
            .secrets
            .iter()
            .map(|one| (String::from_utf8_lossy(one.expose()).into_owned(), one.expires_unix.is_some()));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(secrets().await, [(first.clear, true), (second.clear.clone(), false)]);
    let (_, third) = apps.change("shop", None, rotate(60)).await.unwrap();
    assert_eq!(secrets().await, [(second.clear, true), (third.clear, false)]);
    let (_, fourth) = apps.change("shop", None, rotate(0)).await.unwrap();
    assert_eq!(secrets().await, [(fourth.clear, false)]);
}
