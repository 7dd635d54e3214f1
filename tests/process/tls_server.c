#include "tls_server.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void no(const char *what)
{
    (void)printf("could not set up: %s\n", what);
    (void)fflush(stdout);
    exit(99);
}

X509 *tls_certificate_for(const char *path, EVP_PKEY **key, const char *host, long ends_s,
                          X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    *key = EVP_EC_gen("P-256");
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, host);
    if (name == NULL || *key == NULL || alt == NULL || X509_set_version(x, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -7200) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), ends_s) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)path, -1, -1,
                                   0) != 1 ||
        X509_set_issuer_name(x, issuer != NULL ? X509_get_subject_name(issuer) : name) != 1 ||
        X509_add_ext(x, alt, -1) != 1 || X509_set_pubkey(x, *key) != 1 ||
        X509_sign(x, issuer_key != NULL ? issuer_key : *key, EVP_sha256()) == 0) {
        no("certificate");
    }
    X509_EXTENSION_free(alt);
    FILE *f = fopen(path, "we");
    if (f == NULL || PEM_write_X509(f, x) != 1 || fclose(f) != 0) {
        no(path);
    }
    return x;
}

X509 *tls_certificate_make(const char *path, EVP_PKEY **key)
{
    return tls_certificate_for(path, key, "IP:127.0.0.1", 86400, NULL, NULL);
}

/* The first of the server's protocols that the client has, too. */
static int on_agree(SSL *ssl, const unsigned char **out, unsigned char *bytes,
                    const unsigned char *in, unsigned in_bytes, void *arg)
{
    (void)ssl;
    unsigned char *chosen = NULL;
    const char *agree = arg;
    if (SSL_select_next_proto(&chosen, bytes, (const unsigned char *)agree, (unsigned)strlen(agree),
                              in, in_bytes) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A server that is ended from without frees nothing, and a register is no place where memcheck looks for what is still in use: so these lie in memory. */
static struct {
    SSL_CTX *ctx;
    SSL *ssl;
} serving;

static void one(struct rig *r, int fd, void (*serve)(struct rig *r, SSL *ssl, int fd))
{
    serving.ssl = SSL_new(serving.ctx);
    if (serving.ssl != NULL && SSL_set_fd(serving.ssl, fd) == 1 && SSL_accept(serving.ssl) == 1) {
        serve(r, serving.ssl, fd);
    }
    SSL_free(serving.ssl);
    SSL_CTX_free(serving.ctx);
}

uint16_t tls_server_start(struct rig *r, X509 *certificate, EVP_PKEY *key, const char *agree,
                          int highest, void (*serve)(struct rig *r, SSL *ssl, int fd))
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (fd < 0 || ctx == NULL || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&at, &bytes) != 0 ||
        SSL_CTX_use_certificate(ctx, certificate) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, highest) != 1) {
        no("server");
    }
    if (agree != NULL) {
        SSL_CTX_set_alpn_select_cb(ctx, on_agree, (void *)(uintptr_t)agree);
    }
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        (void)signal(SIGPIPE, SIG_IGN);
        serving.ctx = ctx;
        for (;;) {
            int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            if (client >= 0 && fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                one(r, client, serve);
                _exit(0);
            }
            (void)close(client);
        }
    }
    (void)close(fd);
    SSL_CTX_free(ctx);
    return ntohs(at.sin_port);
}
