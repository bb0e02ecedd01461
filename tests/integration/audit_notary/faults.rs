use std::path::Path;

use super::scene::Scene;
use crate::support::{Hold, Way};

fn port(url: &str) -> u16 {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_of_no_use_stops_signing_or_alarms() {
    let scene = Scene::new().await;
    for nowhere in ["/nonexistent", "/proc"] {
        let refused = scene.wait_for_end(scene.bare(&["--sink", scene.folder(), "--sink", nowhere])).await.exits(1);
        let told = format!("no copy of checkpoint 1 in {nowhere}");
        assert!(refused.stderr.contains(&told), "{}", refused.stderr);
        assert_eq!(scene.stored().await.len(), 0);
    }
    // The copy in the first of the two was signed all the same, and is used.
    assert_eq!(scene.files().len(), 1);
    let mut alarming = scene.bare(&["--sink", "/proc", "--sink", scene.folder(), "--on-sink-failure", "alarm"]);
    alarming.wait_for_log("a checkpoint has no copy in this sink");
    scene.wait_until_signed(1).await;
    let stored = scene.one_chain().await;
    assert_eq!(scene.files().into_values().collect::<Vec<_>>(), [stored[0].to_copy()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_name_of_a_copy_is_never_written_over() {
    let scene = Scene::new().await;
    let path = Path::new(scene.folder()).join("00000000000000000001.json");
    std::fs::write(&path, "{}").unwrap();
    let refused = scene.wait_for_end(scene.notary(&[], &[])).await.exits(1);
    assert!(
        refused.stderr.contains("00000000000000000001.json is no checkpoint of this vault's"),
        "{}",
        refused.stderr
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
    assert_eq!(scene.stored().await.len(), 0);
    assert_eq!(scene.objects().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_and_kms_may_be_away_for_a_while() {
    let scene = Scene::new().await;
    let upstream = port(&scene.world.kms_url());
    for variable in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KMS"] {
        let hold = Hold::before(upstream, Way::Open).await;
        let url = format!("http://127.0.0.1:{}", hold.port);
        let mut notary = scene.notary(&["--gap", "0ms", "--patience", "60s"], &[(variable, &url)]);
        let seq = scene.append().await;
        scene.wait_until_signed(seq).await;
        hold.set(Way::Away);
        let seq = scene.append().await;
        notary.wait_for_log("trying again");
        assert!(scene.stored().await.iter().all(|signed| signed.checkpoint.seq < seq));
        hold.set(Way::Open);
        scene.wait_until_signed(seq).await;
        notary.signal("TERM");
        scene.wait_for_end(notary).await.done();
        scene.one_chain_everywhere().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends() {
    let scene = Scene::new().await;
    let hold = Hold::before(port(&scene.world.kms_url()), Way::Open).await;
    let url = format!("http://127.0.0.1:{}", hold.port);
    let notary = scene.notary(&["--patience", "1s"], &[("AWS_ENDPOINT_URL_KMS", &url)]);
    scene.wait_until_signed(1).await;
    hold.set(Way::Away);
    scene.append().await;
    let gave_up = scene.wait_for_end(notary).await.exits(1);
    assert!(gave_up.stderr.contains("error: kms:Sign: "), "{}", gave_up.stderr);
    assert_eq!(scene.one_chain_everywhere().await.len(), 1);
}
