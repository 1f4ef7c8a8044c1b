package main

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// cloudflare is what Cloudflare's API (version 4) has for zones and their TXT records, for
// one API token.
type cloudflare struct {
	token   string
	zones   []cfZone
	server  *server
	records []cfRecord
	made    int
	mux     *http.ServeMux
}

type cfZone struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type cfRecord struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Content string `json:"content"`
	TTL     int    `json:"ttl"`
	zone    string
}

// text is the content without the quotes around it, which may be missing.
func (r cfRecord) text() string { return strings.Trim(r.Content, `"`) }

type cfError struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Chain   []cfError `json:"error_chain,omitempty"`
}

func newCloudflare(token string, zones []string, s *server) *cloudflare {
	c := &cloudflare{token: token, server: s, mux: http.NewServeMux()}
	for i, name := range zones {
		c.zones = append(c.zones, cfZone{fmt.Sprintf("%032x", i+0xabc), name})
	}
	const records = "/client/v4/zones/{zone}/dns_records"
	c.mux.HandleFunc("GET /client/v4/zones", c.listZones)
	c.mux.HandleFunc("GET "+records, c.withZone(c.list))
	c.mux.HandleFunc("POST "+records, c.withZone(c.create))
	c.mux.HandleFunc("DELETE "+records+"/{record}", c.withZone(c.remove))
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { noRoute(w, r) })
	return c
}

// Bearer and a token68 (RFC 9110 §11.2) is the only form that is looked at.
var bearer = regexp.MustCompile(`^Bearer ([A-Za-z0-9._~+/-]+=*)$`)

func (c *cloudflare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get("Authorization")
	match := bearer.FindStringSubmatch(header)
	switch {
	case header == "":
		refuse(w, http.StatusBadRequest, cfError{9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers", nil})
	case match == nil:
		refuse(w, http.StatusBadRequest, cfError{6003, "Invalid request headers", []cfError{{6111, "Invalid format for Authorization header", nil}}})
	case match[1] != c.token:
		refuse(w, http.StatusForbidden, cfError{9109, "Invalid access token", nil})
	default:
		c.mux.ServeHTTP(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, e cfError) {
	reply(w, status, map[string]any{"success": false, "errors": []cfError{e}, "messages": []string{}, "result": nil})
}

func noRoute(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, cfError{7003, "Could not route to " + r.URL.Path + ", perhaps your object identifier is invalid?", nil})
}

func grant(w http.ResponseWriter, result any) {
	reply(w, http.StatusOK, map[string]any{"success": true, "errors": []string{}, "messages": []string{}, "result": result})
}

// withZone gives the zone of the path, if there is one.
func (c *cloudflare) withZone(f func(http.ResponseWriter, *http.Request, cfZone)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(c.zones, func(z cfZone) bool { return z.ID == r.PathValue("zone") })
		if i < 0 {
			noRoute(w, r)
			return
		}
		f(w, r, c.zones[i])
	}
}

func (c *cloudflare) listZones(w http.ResponseWriter, r *http.Request) {
	found := []cfZone{}
	for _, z := range c.zones {
		if name := r.FormValue("name"); name == "" || name == z.Name {
			found = append(found, z)
		}
	}
	grant(w, found)
}

func (c *cloudflare) list(w http.ResponseWriter, r *http.Request, z cfZone) {
	found := []cfRecord{}
	for _, record := range c.records {
		typ, name := r.FormValue("type"), r.FormValue("name.exact")
		if record.zone == z.Name && (typ == "" || typ == record.Type) && (name == "" || name == record.Name) {
			found = append(found, record)
		}
	}
	grant(w, found)
}

func (c *cloudflare) create(w http.ResponseWriter, r *http.Request, z cfZone) {
	record := cfRecord{TTL: 1, zone: z.Name}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case media != "application/json" || json.Unmarshal(read(r), &record) != nil:
		refuse(w, http.StatusBadRequest, cfError{9207, "Request body is invalid.", nil})
		return
	case record.Type != "TXT" || record.Name == "" || record.text() == "":
		refuse(w, http.StatusBadRequest, cfError{1004, "DNS Validation Error", []cfError{{9005, "Content for TXT record is invalid.", nil}}})
		return
	case record.TTL != 1 && (record.TTL < 60 || record.TTL > 86400):
		refuse(w, http.StatusBadRequest, cfError{1004, "DNS Validation Error", []cfError{{9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.", nil}}})
		return
	}
	// A name outside is taken for one relative to the zone.
	if !inZone(record.Name, z.Name) {
		record.Name += "." + z.Name
	}
	if slices.ContainsFunc(c.records, func(old cfRecord) bool { return old.Name == record.Name && old.text() == record.text() }) {
		refuse(w, http.StatusBadRequest, cfError{81058, "An identical record already exists.", nil})
		return
	}
	c.made++
	record.ID = fmt.Sprintf("%032x", c.made)
	c.records = append(c.records, record)
	c.publish(z, record.Name)
	grant(w, record)
}

func (c *cloudflare) remove(w http.ResponseWriter, r *http.Request, z cfZone) {
	i := slices.IndexFunc(c.records, func(old cfRecord) bool { return old.zone == z.Name && old.ID == r.PathValue("record") })
	if i < 0 {
		refuse(w, http.StatusNotFound, cfError{81044, "Record does not exist.", nil})
		return
	}
	gone := c.records[i]
	c.records = slices.Delete(c.records, i, i+1)
	c.publish(z, gone.Name)
	grant(w, map[string]string{"id": gone.ID})
}

// publish gives the name server what is under the name now.
func (c *cloudflare) publish(z cfZone, name string) {
	var texts []string
	for _, record := range c.records {
		if record.Name == name {
			texts = append(texts, record.text())
		}
	}
	c.server.set(z.Name, name, texts)
}
