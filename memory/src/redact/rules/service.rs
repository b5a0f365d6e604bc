//! Services: models, chat, payment, mail, monitoring.

use super::{Rule, format};

pub(super) const RULES: &[Rule] = &[
    // Models
    format("anthropic-key", &["sk-ant-"], r"sk-ant-[a-z]{2,8}\d\d-[\w-]{32,}"),
    format("openai-key", &["t3blbkfj"], r"sk-(?:[a-z]+-)?[\w-]{16,}T3BlbkFJ[\w-]{16,}"),
    format("openai-project-key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], r"sk-(?:proj|svcacct|admin)-[\w-]{40,}"),
    format("openrouter-key", &["sk-or-v1-"], r"sk-or-v1-[a-f0-9]{64}"),
    format("huggingface-token", &["hf_", "api_org_"], r"\b(?:hf|api_org)_[A-Za-z]{34,40}\b"),
    format("replicate-token", &["r8_"], r"\br8_[A-Za-z0-9]{37,}"),
    format("groq-key", &["gsk_"], r"\bgsk_[A-Za-z0-9]{52}"),
    format("perplexity-key", &["pplx-"], r"\bpplx-[A-Za-z0-9]{48}"),
    format("xai-key", &["xai-"], r"\bxai-[A-Za-z0-9]{80}"),
    // Chat
    format(
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe."],
        r"xox[abeprs][.-](?:[a-z]{4}-)?[0-9A-Za-z-]{10,}",
    ),
    format("slack-app-token", &["xapp-"], r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{64}"),
    format(
        "slack-webhook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?<secret>[A-Za-z0-9+/]{40,60})",
    ),
    format("discord-webhook", &["/webhooks/"], r"discord(?:app)?\.com/api/webhooks/(?<secret>\d{17,20}/[\w-]{60,})"),
    format("discord-token", &["discord", "bot "], r"\b[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,40}"),
    format("telegram-token", &[":aa"], r"\b\d{8,10}:AA[\w-]{33}\b"),
    format(
        "teams-webhook",
        &["webhook.office.com"],
        r"webhook\.office\.com/webhookb2/(?<secret>[\w@-]{36,80}/IncomingWebhook/[a-f0-9]{32}/[a-f0-9-]{36})",
    ),
    // Payment and shops
    format("stripe-key", &["k_live_", "k_test_"], r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    format("stripe-webhook", &["whsec_"], r"whsec_[A-Za-z0-9+/=]{32,}"),
    format("square-token", &["sq0atp-", "sq0csp-"], r"sq0(?:atp|csp)-[\w-]{22,}"),
    format("braintree-token", &["access_token$"], r"access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32}"),
    format("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_"], r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    format("easypost-key", &["ezak", "eztk"], r"\bEZ[AT]K[a-zA-Z0-9]{54}"),
    // Mail and telephony
    format("sendgrid-key", &["sg."], r"\bSG\.[\w-]{22}\.[\w-]{43}"),
    format("mailgun-key", &["key-"], r"\bkey-[a-f0-9]{32}\b"),
    format("mailchimp-key", &["-us"], r"\b[a-f0-9]{32}-us\d{1,2}\b"),
    format("brevo-key", &["xkeysib-"], r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    format("resend-key", &["re_"], r"\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}\b"),
    format(
        "twilio-key",
        &[
            "twilio", "sk0", "sk1", "sk2", "sk3", "sk4", "sk5", "sk6", "sk7", "sk8", "sk9", "ska", "skb", "skc", "skd",
            "ske", "skf",
        ],
        r"\bSK[a-f0-9]{32}\b",
    ),
    // Monitoring and data
    format("newrelic-key", &["nrak-"], r"NRAK-[A-Z0-9]{27}"),
    format("grafana-token", &["glsa_", "glc_"], r"\b(?:glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|glc_[A-Za-z0-9+/=]{32,})"),
    format("sentry-token", &["sntrys_", "sntryu_"], r"sntry(?:s_[A-Za-z0-9+/=_-]{40,}|u_[a-f0-9]{64})"),
    format("dynatrace-token", &["dt0c01.", "dt0s01."], r"dt0[cs]01\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    format("honeycomb-key", &["hcaik_", "hcxik_"], r"\bhc[abcx]ik_[a-z0-9]{32,}"),
    format("airtable-token", &["pat"], r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    format("notion-token", &["ntn_"], r"\bntn_[A-Za-z0-9]{40,50}"),
    format("figma-token", &["figd_"], r"figd_[\w-]{40,}"),
    format("onepassword-token", &["ops_ey"], r"ops_eyJ[A-Za-z0-9+/=_-]{100,}"),
];
