//! Forges, package registries and the machinery around code.

use super::{Rule, format};

pub(super) const RULES: &[Rule] = &[
    format("github-pat", &["ghp_"], r"ghp_[A-Za-z0-9]{36,}"),
    format("github-oauth", &["gho_"], r"gho_[A-Za-z0-9]{36,}"),
    format("github-app", &["ghu_", "ghs_"], r"gh[us]_[A-Za-z0-9]{36,}"),
    format("github-refresh", &["ghr_"], r"ghr_[A-Za-z0-9]{36,}"),
    format("github-fine-grained", &["github_pat_"], r"github_pat_[A-Za-z0-9_]{36,}"),
    format("gitlab-pat", &["glpat-"], r"glpat-[\w-]{20,}(?:\.[\w-]+)*"),
    format(
        "gitlab-token",
        &["gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glft-", "gloas-", "glimt-", "glagent-", "glffct-"],
        r"gl(?:dt|rt|ptt|cbt|soat|ft|oas|imt|agent|ffct)-(?:[a-f0-9]{1,5}_)?[\w-]{20,}",
    ),
    format("gitlab-runner", &["gr1348941"], r"GR1348941[\w-]{20,}"),
    format("atlassian-token", &["atatt3", "atctt3", "atbb"], r"(?:AT[AC]TT3[\w=-]{60,}|ATBB[A-Za-z0-9=_-]{32,})"),
    format("npm-token", &["npm_"], r"npm_[A-Za-z0-9]{36,}"),
    format(
        "npm-auth",
        &["_authtoken", "_auth", "_password"],
        r#"(?i):_(?:authToken|auth|password)\s?=\s?"?(?<secret>[\w+/=.-]{16,})"#,
    ),
    format("pypi-token", &["pypi-ageicHlwas5vcmc", "pypi-ag"], r"pypi-Ag[\w-]{50,}"),
    format("cargo-token", &["cio"], r"\bcio[A-Za-z0-9]{32}\b"),
    format("rubygems-token", &["rubygems_"], r"rubygems_[a-f0-9]{48}"),
    format("nuget-key", &["oy2"], r"\boy2[a-z0-9]{43}\b"),
    format("clojars-token", &["clojars_"], r"CLOJARS_[a-z0-9]{60}"),
    format("docker-token", &["dckr_pat_", "dckr_oat_"], r"dckr_[po]at_[\w-]{27,}"),
    format(
        "docker-auth",
        &["\"auth\"", "\"auth\\\""],
        r#"\\?"auth\\?"\s?:\s?\\?"(?<secret>[A-Za-z0-9+/]{16,}={0,2})\\?""#,
    ),
    format("artifactory-key", &["akcp"], r"\bAKCp[A-Za-z0-9]{69,}"),
    format("sonarqube-token", &["squ_", "sqp_", "sqa_"], r"\bsq[upa]_[a-f0-9]{40}\b"),
    format("buildkite-token", &["bkua_"], r"bkua_[a-f0-9]{40}"),
    format(
        "codecov-token",
        &["codecov"],
        r#"(?i)codecov[_-]?token["']?\s{0,3}[:=]\s{0,3}["']?(?<secret>[a-f0-9-]{32,36})\b"#,
    ),
    format("linear-key", &["lin_api_", "lin_oauth_"], r"lin_(?:api|oauth)_[A-Za-z0-9]{40,}"),
    format("postman-key", &["pmak-"], r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
];
