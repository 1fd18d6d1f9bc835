// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd;

/// <summary>The address of an NBD export or listener.</summary>
/// <remarks>
/// <code>
/// nbd://HOST[:PORT]/[EXPORT]              TCP, port 10809 by default
/// nbds://HOST[:PORT]/[EXPORT]             TCP with TLS
/// nbd+unix:///[EXPORT]?socket=PATH        unix socket
/// nbds+unix:///[EXPORT]?socket=PATH       unix socket with TLS
/// </code>
/// <para>Names are percent-encoded. <c>tls-hostname=NAME</c> in the query is the name the server's certificate must have, where
/// that is not the host. Source: "The NBD Uniform Resource Indicator (URI) format".</para>
/// </remarks>
public sealed record NbdUri
{
    /// <summary>Longest name of an export, in bytes of UTF-8. Source: NBD protocol, "String values".</summary>
    public const int MaximumExportNameBytes = NbdLimits.MaximumStringBytes;

    private const string Forms = "nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, with nbds for TLS";

    // Ordered so that no scheme is a prefix of an earlier one.
    private static readonly string[] Schemes = ["nbd", "nbds", "nbd+unix", "nbds+unix", "nbd+vsock", "nbds+vsock"];

    private NbdUri(bool isTls, string? socketPath, string host, int port, string exportName, string? tlsHostName)
    {
        IsTls = isTls;
        SocketPath = socketPath;
        Host = host;
        Port = port;
        ExportName = exportName;
        TlsHostName = tlsHostName ?? DefaultTlsHostName(host);
    }

    /// <summary>True when the connection is to be encrypted.</summary>
    public bool IsTls { get; }

    /// <summary>Path of the unix socket; null for TCP.</summary>
    public string? SocketPath { get; private init; }

    /// <summary>True for a unix socket.</summary>
    [MemberNotNullWhen(true, nameof(SocketPath))]
    public bool IsUnix => SocketPath is not null;

    /// <summary>Host name or address without brackets; empty for a unix socket, and where the URI leaves it out.</summary>
    public string Host { get; }

    /// <summary>TCP port; 0 asks a listener to choose one.</summary>
    public int Port { get; init; }

    /// <summary>Name of the export: what follows the slash behind the host, further slashes included; at most
    /// 4096 bytes of UTF-8; may be empty.</summary>
    public string ExportName { get; init; }

    /// <summary>The name that the server's certificate must have.</summary>
    public string TlsHostName { get; }

    /// <summary>True when a user's text is meant as an NBD URI rather than as a path.</summary>
    public static bool IsUri([NotNullWhen(true)] string? text) =>
        text is not null && text.IndexOf("://", StringComparison.Ordinal) is var end && end > 0 &&
        Schemes.Contains(text[..end], StringComparer.OrdinalIgnoreCase);

    /// <summary>Reads a URI.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.UriInvalid"/></exception>
    public static NbdUri Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (!IsUri(text) || !Uri.TryCreate(text, UriKind.Absolute, out Uri? uri))
        {
            throw Invalid(text, "it is no NBD URI");
        }

        if (uri.Scheme.EndsWith("vsock", StringComparison.Ordinal))
        {
            throw Invalid(text, "AF_VSOCK is not supported");
        }

        if (uri.UserInfo.Length != 0 || uri.Fragment.Length != 0)
        {
            throw Invalid(text, "user names and fragments have no meaning in it");
        }

        bool isUnix = uri.Scheme.EndsWith("+unix", StringComparison.Ordinal);
        (string? socketPath, string? tlsHostName) = ParseQuery(text, uri.Query);
        if (isUnix != (socketPath is not null))
        {
            throw Invalid(text, isUnix ? "socket=PATH is missing" : "a TCP address takes no socket=PATH");
        }

        if (isUnix && uri.Host.Length != 0)
        {
            throw Invalid(text, "an address of a unix socket begins with three slashes and names no host");
        }

        string exportName = ParseExportName(text);

        return new NbdUri(
            uri.Scheme.StartsWith("nbds", StringComparison.Ordinal),
            socketPath,
            uri.Host.Trim('[', ']'),
            isUnix || uri.Port < 0 ? NbdLimits.DefaultPort : uri.Port,
            exportName,
            tlsHostName);
    }

    /// <summary>The URI of another export at the same address.</summary>
    public NbdUri WithExport(string exportName) => this with { ExportName = exportName };

    /// <summary>The same export at a unix socket of another path.</summary>
    public NbdUri WithSocket(string socketPath) => this with { SocketPath = socketPath };

    /// <summary>The URI as text that <see cref="Parse"/> reads back.</summary>
    public override string ToString()
    {
        string scheme = (IsTls ? "nbds" : "nbd") + (IsUnix ? "+unix" : string.Empty);
        string name = string.Join('/', ExportName.Split('/').Select(Uri.EscapeDataString));
        string tlsHostName = TlsHostName == DefaultTlsHostName(Host) ? string.Empty : $"tls-hostname={Uri.EscapeDataString(TlsHostName)}";
        if (IsUnix)
        {
            string socket = Uri.EscapeDataString(SocketPath).Replace("%2F", "/", StringComparison.Ordinal);
            return $"{scheme}:///{name}?socket={socket}{(tlsHostName.Length == 0 ? string.Empty : "&")}{tlsHostName}";
        }

        string host = Host.Contains(':') ? $"[{Host}]" : Host;
        string port = Port == NbdLimits.DefaultPort ? string.Empty : string.Create(CultureInfo.InvariantCulture, $":{Port}");
        return $"{scheme}://{host}{port}/{name}{(tlsHostName.Length == 0 ? string.Empty : "?")}{tlsHostName}";
    }

    // The path as it is written, without its first slash. Source: the URI format's "Export name". System.Uri would resolve dots in it.
    private static string ParseExportName(string text)
    {
        int hostAt = text.IndexOf("://", StringComparison.Ordinal) + 3;
        int queryAt = text.IndexOf('?', hostAt);
        string address = (queryAt < 0 ? text[hostAt..] : text[hostAt..queryAt]).TrimEnd();
        int pathAt = address.IndexOf('/', StringComparison.Ordinal);
        string exportName = pathAt < 0 ? string.Empty : Uri.UnescapeDataString(address[(pathAt + 1)..]);
        int lengthBytes = System.Text.Encoding.UTF8.GetByteCount(exportName);
        if (lengthBytes > NbdLimits.MaximumStringBytes || exportName.Contains('\0'))
        {
            throw Invalid(
                text, $"the export's name of {lengthBytes} bytes is longer than {NbdLimits.MaximumStringBytes} bytes or holds a NUL");
        }

        return exportName;
    }

    private static string DefaultTlsHostName(string host) => host.Length != 0 ? host : "localhost";

    private static (string? SocketPath, string? TlsHostName) ParseQuery(string text, string query)
    {
        string? socketPath = null;
        string? tlsHostName = null;
        foreach (string pair in query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            string key = equals < 0 ? pair : pair[..equals];
            string value = equals < 0 ? string.Empty : Uri.UnescapeDataString(pair[(equals + 1)..]);
            switch (key)
            {
                case "socket" when value.Length != 0:
                    socketPath = value;
                    break;
                case "tls-hostname" when value.Length != 0:
                    tlsHostName = value;
                    break;
                default:
                    throw Invalid(text, $"'{pair}' is no parameter that Fleece knows");
            }
        }

        return (socketPath, tlsHostName);
    }

    private static BlockException Invalid(string text, string reason) =>
        new(NbdErrors.UriInvalid, $"The URI '{text}' can't be used: {reason}. Its form is {Forms}.");
}
