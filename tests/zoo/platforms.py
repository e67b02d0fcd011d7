"""Mistakes of people who let a platform's jobs in: in the job, in the trust, in the rule, and in the request."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.platforms import builds, clouds, github, gitlab, kubernetes
from tests.platforms.token import Token, pointer_to
from tests.platforms.trap import Good
from tests.platforms.traps import GOOD

from affiant.errors.reasons import Reason

CLIENT = "deploy"
OTHER = "https://other.example"
_SSH = pointer_to("oidc.circleci.com/ssh-rerun")


@dataclass(frozen=True)
class Mistake:
    """One mistake, and the platform as it should be.

    Attributes:
        name: of the test.
        reason: of the refusal.
        good: what the trust and the rule are made of, but for what `trust` and `rule` say.
        token: that the job sends; the good one if None.
        trust: members of the trust that are wrong.
        conditions: of the rule in place of the pins.
        rule: further members of the rule.
        form: further parameters; a value of None takes one away.
        commands: of an operator, before.
        carrier: the parameter of the token.
        times: how often the same token is sent; all but the last succeed.
        late: seconds between the token and the request; fewer than 0 if the server's clock is behind.
        header: whether the token is in a header in place of a parameter.
        rotated: whether the platform has changed its keys since they were uploaded.
        no_trust: whether there is no trust at all.
    """

    name: str
    reason: Reason
    good: Good
    token: Token | None = None
    trust: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] | None = None
    rule: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, str | None] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    carrier: str = "client_assertion"
    times: int = 1
    late: int = 0
    header: bool = False
    rotated: bool = False
    no_trust: bool = False

    @property
    def sent(self) -> Token:
        return self.token or self.good.token


GITHUB, GITLAB, KUBERNETES, AWS = (GOOD[name] for name in ("github", "gitlab", "kubernetes", "aws"))
GOOGLE, ENTRA, TERRAFORM, CIRCLECI = (GOOD[name] for name in ("google", "entra", "terraform", "circleci"))
_IDS = {"repository_id": "74", "repository_owner_id": "65"}
_ENVIRONMENT = github.job(github.RUNS["environment"])


def _audience(good: Good, token: Token, name: str) -> Mistake:
    return Mistake(name, Reason.TRUST_AUDIENCE, good, token)


def _rule(
    name: str, good: Good, token: Token | None, conditions: Mapping[str, Any] | None = None, **rule: Any
) -> Mistake:
    return Mistake(name, Reason.RULE_NONE, good, token, conditions=conditions, rule=rule)


_JOBS = (
    _audience(GITHUB, github.job(audience=OTHER), "wrong audience"),
    _audience(GITHUB, github.job(audience="https://github.com/acme"), "default audience"),
    _audience(GITLAB, gitlab.job(audience="https://gitlab.com"), "the audience is the platform"),
    _audience(AWS, clouds.aws(audiences=(clouds.AWS_ISSUER, OTHER)), "two audiences, none of them ours"),
    _audience(KUBERNETES, kubernetes.extended(), "the token for the API server, of a year"),
    Mistake("no permission id-token", Reason.HALF_ASSERTION, GITHUB, form={"client_assertion": ""}),
    Mistake("no permission, and jq", Reason.JWT_PARTS, GITHUB, form={"client_assertion": "null"}),
    Mistake("an empty assertion", Reason.MISSING_PARAMETER, GITHUB, form={"assertion": ""}, carrier="assertion"),
    Mistake(
        "pull_request_target", Reason.TRUST_REFUSES, GITHUB, github.job(github.RUNS["pull-request-target"])
    ),
    _rule("pull_request", GITHUB, github.job(github.RUNS["pull-request"])),
    _rule("no environment", GITHUB, None, {**_IDS, "environment": "production"}),
    _rule("the pipeline of a fork", GITLAB, gitlab.fork_merge_request()),
    _rule("a branch that is not protected", GITLAB, gitlab.job(gitlab.Pipeline(is_protected=False))),
    _rule("service account default", KUBERNETES, kubernetes.pod(kubernetes.DEFAULT), {"sub": kubernetes.ORDERS.subject}),
    Mistake("a year, with our audience", Reason.TRUST_LIFETIME, KUBERNETES,
            kubernetes.extended(audiences=(GITHUB.audience,))),
    Mistake("the token of a Secret", Reason.ISS_SUB, KUBERNETES, kubernetes.legacy()),
    Mistake("a person inside the job", Reason.TRUST_REFUSES, CIRCLECI, builds.circleci(is_ssh_rerun=True)),
    _rule("the token of a person", GOOGLE, clouds.google(subject="77").changed({"/nonce": "n", "/at_hash": "h"})),
    Mistake("a used token", Reason.REPLAYED, GITHUB, times=2),
    Mistake("a used token of a job that has one", Reason.REPLAYED, GITLAB, times=2),
    Mistake("an old token", Reason.EXPIRED, GITHUB, late=900),
    Mistake("the clock of the server", Reason.IAT_FUTURE, GITHUB, late=-120),
)  # fmt: skip
_RULES = (
    _rule("a renamed repository", GITHUB, github.job(repository=github.APP.renamed("shop")),
          {"repository": "acme/app", "ref": "refs/heads/main"}, names_only=True),
    _rule("a recycled name", GITHUB, github.job(repository=github.APP.recycled), {"repository_id": "74",
                                                                                    "ref": "refs/heads/main"}),
    _rule("a branch in place of a tag", GITHUB, github.job(github.RUNS["tag"])),
    _rule("a branch without refs/heads", GITHUB, None, {**_IDS, "ref": "main"}),
    _rule("sub has the environment", GITHUB, _ENVIRONMENT, {"sub": "repo:acme@65/app@74:ref:refs/heads/main"}),
    _rule("sub without the ids", GITHUB, None, {"sub": "repo:acme/app:ref:refs/heads/main"}, names_only=True),
    _rule("upper case", GITHUB, None, {**_IDS, "ref": "refs/heads/Main"}),
    _rule("%3A", GITHUB, github.job(github.RUNS["environment-with-colon"]), {**_IDS, "environment": "Production%3AV1"}),
    _rule("a text for a number", GITLAB, None, {"project_id": "20", "ref_protected": "true", "runner_id": "1"}),
    _rule("a number for a text", GITLAB, None, {"project_id": 20, "ref_protected": "true"}),
    _rule("a text for false", CIRCLECI, None, {"oidc.circleci.com/project-id": builds.CIRCLECI_PROJECT, _SSH: "false"}),
    _rule("a claim's name", GITHUB, None, {"repositoryid": "74", "ref": "refs/heads/main"}),
    _rule("a pointer without its slash", KUBERNETES, None,
          {"sub": kubernetes.ORDERS.subject, "kubernetes.io/serviceaccount/uid": kubernetes.ORDERS.uid}),
    _rule("a service account that was made again", KUBERNETES, kubernetes.pod(kubernetes.ORDERS.made_again)),
    _rule("sub customised", GITLAB, gitlab.job(subject=("project_path",)),
          {"project_id": "20", "ref_protected": "true", "sub": "project_path:acme/app:ref_type:branch:ref:main"}),
    _rule("another phase", TERRAFORM, builds.terraform("plan")),
    Mistake("no rule", Reason.RULE_NONE, GITHUB, commands=("affiant rule remove deploy",)),
    Mistake("two rules for two clients", Reason.TRUST_AMBIGUOUS, GITHUB,
            commands=("affiant client new other --auth federated_jwt --scope orders.read",
                      ("affiant rule add other --trust github --client other --when repository_id=74"
                      " --when ref=refs/heads/main"))),
    Mistake("two rules for one client", Reason.TRUST_AMBIGUOUS, GITHUB,
            commands=(("affiant rule add other --trust github --client deploy --when repository_id=74"
                      " --when ref=refs/heads/main"),)),
    Mistake("a disabled rule", Reason.RULE_NONE, GITHUB, commands=("affiant rule disable deploy",)),
    Mistake("a disabled client", Reason.CLIENT_DISABLED, GITHUB, commands=("affiant client disable deploy",)),
    Mistake("a scope beyond the rule", Reason.SCOPE_NOT_ALLOWED, GITHUB, form={"scope": "orders.read orders.write"},
            rule={"scope": ["orders.read"]}),
    Mistake("a rule without a scope of the client", Reason.NOTHING_LEFT, GITHUB, rule={"scope": ["orders.admin"]}),
)  # fmt: skip
_TRUSTS = (
    Mistake("a disabled trust", Reason.TRUST_DISABLED, GITHUB, commands=("affiant trust disable github",)),
    Mistake("uploaded keys of last year", Reason.TRUST_KEY_UNKNOWN, KUBERNETES, rotated=True),
    Mistake("the trust wants another audience", Reason.TRUST_AUDIENCE, GITHUB, trust={"audiences": [OTHER]}),
    Mistake("a registration as audience", Reason.TRUST_AUDIENCE, ENTRA, trust={"audiences": []}),
    Mistake("a token of a day", Reason.TRUST_LIFETIME, TERRAFORM, trust={"max_lifetime": 3600}),
    Mistake("tokens without jti", Reason.JTI, GOOGLE, trust={"replay": "once"}),
    Mistake("another algorithm", Reason.KEY_ALGORITHM, AWS, clouds.aws(alg="ES384"), trust={"algorithms": ["RS256"]}),
)  # fmt: skip
_REQUESTS = (
    Mistake("client_id of another", Reason.RULE_NONE, GITHUB, form={"client_id": "acme"}),
    Mistake("as Bearer", Reason.BASIC_MALFORMED, GITHUB, header=True),
    Mistake("in assertion, with client_credentials", Reason.MISPLACED_ASSERTION, GITHUB, carrier="assertion",
            form={"grant_type": "client_credentials"}),
    Mistake("in id_token", Reason.NO_CREDENTIALS, GITHUB, carrier="id_token", form={"client_assertion_type": None}),
    Mistake("a scope that the API has not", Reason.SCOPE_NOT_ALLOWED, GITHUB, form={"scope": "invoices.read"}),
    Mistake("another API", Reason.RESOURCE_NOT_ALLOWED, GITHUB, form={"resource": OTHER}),
)  # fmt: skip
# The issuer of the trust is not that of the token: a trust has one issuer for good, so that these need another.
ISSUERS = (
    Mistake("no trust", Reason.TRUST_UNKNOWN, GITHUB, no_trust=True),
    Mistake("Entra v1 for v2", Reason.TRUST_UNKNOWN, ENTRA, trust={"issuer": clouds.entra_issuer(2)}),
    Mistake("Entra without the slash", Reason.TRUST_UNKNOWN, ENTRA,
            trust={"issuer": clouds.entra_issuer().removesuffix("/")}),
    Mistake("an issuer with a slash", Reason.TRUST_UNKNOWN, GITHUB, trust={"issuer": f"{github.ISSUER}/"}),
    Mistake("an enterprise's issuer", Reason.TRUST_UNKNOWN,
            replace(GITHUB, token=github.job(issuer=github.enterprise_path("acme"))), trust={"issuer": github.ISSUER}),
)  # fmt: skip
MISTAKES = (*_JOBS, *_RULES, *_TRUSTS, *_REQUESTS)
