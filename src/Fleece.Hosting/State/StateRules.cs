// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.State;

/// <summary>Which disks a state may have: it holds paths of keys and certificates, and no key, password or name of a user.</summary>
internal static class StateRules
{
    private const UnixFileMode AllPermissions = (UnixFileMode)0x1FF; // chmod(2): 0777

    /// <summary>Judges one disk.</summary>
    /// <returns>What is wrong, without the words that are to stay secret; null when nothing is.</returns>
    public static string? FindFault(MountedDiskState? disk)
    {
        if (disk?.Mount is not { } mount || mount.Listeners is null || mount.Listeners.Contains(null))
        {
            return "a disk has no image or no list of listeners";
        }

        if (string.IsNullOrEmpty(mount.Name))
        {
            return "a disk has no name";
        }

        string? fault = FindCredentials(mount.Address)
            ?? (NbdUri.IsUri(mount.Address) || IsAbsolute(mount.Address) ? null : $"'{mount.Address}' is no absolute path")
            ?? FindFault(mount.Tls)
            ?? (mount.DiscardsSessions ? "it discards sessions, which is asked for at one mount" : null)
            ?? mount.Listeners.Select(FindFault).FirstOrDefault(found => found is not null);
        return fault is null ? null : $"the disk '{mount.Name}': {fault}";
    }

    /// <summary>True for an absolute path.</summary>
    public static bool IsAbsolute([NotNullWhen(true)] string? path) => Path.IsPathFullyQualified(path ?? string.Empty);

    private static string? FindFault(ListenRequest listener) =>
        FindCredentials(listener.ListenUri)
        ?? FindFault(listener.Tls)
        ?? ((listener.SocketMode & ~AllPermissions) is null or UnixFileMode.None ? null : "a mode of a socket has more than 0777");

    private static string? FindFault(TlsFiles? tls)
    {
        if (tls is null)
        {
            return null;
        }

        bool hasNoFile = (tls.Certificate is not null && tls.CertificatePath is null) ||
            (tls.Authorities is not null && tls.AuthorityPaths is null) ||
            (tls.CertificatePath is null && tls.AuthorityPaths is null);
        return hasNoFile
            ? "a certificate came from no file, and a host keeps paths alone. Give the path of a file with the certificate and its key, " +
                "and the paths of the authorities' certificates"
            : new[] { tls.CertificatePath }.Concat(tls.AuthorityPaths ?? []).Skip(tls.CertificatePath is null ? 1 : 0)
                .FirstOrDefault(path => !IsAbsolute(path)) is { } relative
                ? $"'{relative}' is no absolute path"
                : null;
    }

    // Of any text that has the shape of a URI, so that no scheme of a later version gets past. RFC 3986, section 3.2.1: the user's name
    // ends at the @ of the authority, which ends at the first slash, question mark or number sign.
    private static string? FindCredentials(string text)
    {
        int authorityAt = text.IndexOf("://", StringComparison.Ordinal) + 3;
        if (authorityAt < 3)
        {
            return null;
        }

        int endAt = text.AsSpan(authorityAt).IndexOfAny('/', '?', '#');
        ReadOnlySpan<char> authority = endAt < 0 ? text.AsSpan(authorityAt) : text.AsSpan(authorityAt, endAt);
        return authority.Contains('@')
            ? "an address has the name or the password of a user, and a host keeps none. Use certificates, by their paths"
            : null;
    }
}
