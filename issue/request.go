// Package issue is the straight line of arid's main job: one certificate, from
// the question whether it is due to the deployed files.
package issue

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"io/fs"
	"net/http"
	"time"

	"arid/account"
	"arid/acme"
	"arid/certs"
	"arid/challenge"
	"arid/dns"
	"arid/hooks"
	"arid/keys"
	"arid/probe"
	"arid/renew"
	"arid/respond"
)

// Request says which certificate is wanted, from whom, and where it goes. It is
// filled by the command line, by a line of domains.txt, or by a POSTed CSR; all
// that can be checked without the CA has been checked by then.
type Request struct {
	Now   time.Time // the start of the run: versions carry it, and what is due is due then
	Built time.Time // when arid was released, and no clock can be before; zero: not known
	Names []string  // canonical names, the primary one first; with CSR those of the CSR
	Words []string  // the names as hooks are told them, "ip:" included; nil: Names
	CSR   *keys.CSR // made elsewhere, with a key that arid never sees; nil: arid makes both, or the hook gives one

	// Certificate is where the result lives. Nil keeps nothing on disk: the
	// chain is in the Result and nowhere else, and every call is an order, unless
	// Current, the chain of an earlier one, is still good.
	Certificate *certs.Certificate
	Current     []*x509.Certificate

	CA           string // directory URL
	TestCA       bool   // its certificates are trusted by nobody
	Trial        bool   // beside the live certificates: hooks that deploy are not called
	Client       *acme.Client
	Account      account.Store
	Registration account.Registration

	Hooks         *hooks.Runner
	HookChain     bool
	HookUnchanged bool                        // unchanged_cert where nothing is due
	Begin         func(context.Context) error // called before anything is done for the certificate, and not where nothing is; may be nil

	Types     challenge.Choice            // by which challenge each name is proved; all of Names can be
	WellKnown string                      // directory for http-01 files; with Proofs it may be "": none
	TokenMode fs.FileMode                 // of those; 0: all may read them
	ALPNDir   string                      // directory for tls-alpn-01 certificates; with Proofs it may be "": none
	ALPNGroup string                      // that may read them; "" is the directory's
	Proofs    *respond.Proofs             // what arid itself answers from; nil: others answer
	Listen    func(context.Context) error // with Proofs: called before an order that needs them; may be nil
	Updater   *dns.Updater                // writes dns-01 records; nil leaves that to the hook
	DNS       *dns.Client                 // looks whether dns-01 records can be seen
	DNSWait   time.Duration               // for how long at most; 0 does not look
	Prober    *probe.Prober               // looks itself at what the CA refused; nil does not
	ListenOn  []string                    // where Proofs are shown: tells one request from another
	SelfCheck *probe.Prober               // looks at http-01 and tls-alpn-01 before the CA is told, which it is not where they cannot be seen; nil does not

	Algo           keys.Algo
	ReuseKey       bool
	Rollover       bool // PRIVATE_KEY_ROLLOVER: the next key lies ready beside the present one
	MustStaple     bool
	Subject        pkix.Name
	Profile        string
	PreferredChain string    // issuer CN of the chain's last certificate; "" takes the CA's default
	NotAfter       time.Time // asked of the CA; zero: not asked

	OCSP     bool         // keep an OCSP response beside the certificate
	OCSPDays int          // how old it may become
	HTTP     *http.Client // for that; not nil with OCSP

	Explicit Explicit
	Policy   renew.Policy
	Force    bool
	Insist   bool // does not wait for the time of the next attempt after a failure; Force implies it

	// Memory is what is remembered of the CA. Nil remembers nothing, neither of it nor
	// of attempts, and does not ask the CA when to renew.
	Memory   *account.Memory
	StatusOf func(error) int // what the program ends with; for what is remembered of a failure

	Redeploy bool // deploys the live certificate again, and orders nothing

	// Revalidate has every name proved anew: authorizations that the CA holds valid
	// are given up.
	Revalidate bool

	Timeout  time.Duration // for waiting on the CA, hooks not counted
	LockWait time.Duration

	// Dehydrated keeps to dehydrated's flow: probe and generate_csr before the
	// decision, which looks at names and time alone; challenges one after another,
	// up to the first that fails.
	Dehydrated        bool
	ValidationTimeout time.Duration // for each challenge; 0: Timeout alone
	OrderTimeout      time.Duration // for the order after its CSR; 0: Timeout alone

	Tell func(Event) // progress, for whoever prints; may be nil
}

// Explicit tells which settings the user chose: only those can make a live
// certificate due when they differ from it.
type Explicit struct {
	Algo, MustStaple, Profile, CA bool
}

// Step names a step of the run, for those who explain it.
type Step string

// The steps in the order in which they happen. StepWarning may come at any time.
const (
	StepDue       Step = "due"
	StepLive      Step = "live"
	StepARI       Step = "renewal info"
	StepUnchanged Step = "unchanged"
	StepKey       Step = "key"
	StepCSR       Step = "csr"
	StepHookCSR   Step = "hook-csr" // the hook gave one
	StepAccount   Step = "account"
	StepResume    Step = "resume"
	StepOrder     Step = "order"
	StepAuthorize Step = "authorization"
	StepHeld      Step = "held"     // an authorization is valid already
	StepGivenUp   Step = "given up" // one was valid, and is not to be used
	StepPending   Step = "pending"
	StepPut       Step = "put"
	StepHook      Step = "hook"
	StepLook      Step = "look"
	StepAccept    Step = "accept"
	StepProved    Step = "proved"
	StepValid     Step = "valid"
	StepProbe     Step = "probe" // arid looks itself: at what the CA refused, or before it is told
	StepRemove    Step = "remove"
	StepFinalize  Step = "finalize"
	StepDownload  Step = "download"
	StepStore     Step = "store"
	StepSwitch    Step = "switch"
	StepOCSP      Step = "ocsp"
	StepOCSPKept  Step = "ocsp kept"
	StepWarning   Step = "warning"
)

// Event is one step of a run as it happens, as text for a person.
type Event struct {
	Step Step
	Name string // primary name of the certificate
	Text string
	Leaf *x509.Certificate // StepLive: the present certificate; else nil

	// StepLive: the names that are wanted. StepHookCSR: those of the hook's CSR.
	Names []string
}

// Result is what came of a request.
type Result struct {
	Issued   bool   // there is a new certificate
	Deployed bool   // something owed from an earlier run was done
	Reason   string // why it was due, or until when it is not
	Chain    []*x509.Certificate
	Key      crypto.Signer // of a new certificate, where arid made it
	Paths    certs.Paths   // stable names; empty where nothing is kept
}
