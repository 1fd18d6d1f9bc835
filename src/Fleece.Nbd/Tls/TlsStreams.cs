// SPDX-License-Identifier: MIT
using System.Net.Security;

namespace Fleece.Nbd.Tls;

internal static class TlsStreams
{
    public static Stream AuthenticateAsServer(Stream stream, TlsServerOptions options)
    {
        SslStream tls = new(stream);
        tls.AuthenticateAsServer(options.Certificate);
        return tls;
    }
}
