// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.Paths;

/// <summary>Checks the paths of requests before the host opens any of them.</summary>
/// <param name="files">Where images, temp images and certificates may lie.</param>
/// <param name="sockets">Where unix sockets may lie, those of QEMU's monitors, its NBD servers and guests' agents too: there, and in the
/// control socket's folder.</param>
internal sealed class PathRules(AllowedFolders files, AllowedFolders sockets)
{
    /// <summary>The rules of a host.</summary>
    /// <param name="allowedFolders">The folders; none for all.</param>
    /// <param name="socketFolder">The folder of the control socket.</param>
    public static PathRules For(IReadOnlyList<string> allowedFolders, string socketFolder) => new(
        new AllowedFolders(allowedFolders),
        new AllowedFolders(allowedFolders.Count == 0 ? [] : [.. allowedFolders, socketFolder]));

    /// <summary>Checks a mount.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.PathRefused"/>, or <see cref="NbdErrors.UriInvalid"/>.</exception>
    public void Check(MountRequest request)
    {
        CheckImage(request.Address);
        Check(request.Tls);
        foreach (ListenRequest listener in request.Listeners)
        {
            Check(listener);
        }
    }

    /// <summary>Checks where an image, its parent or its data file lies, when the file is open.</summary>
    /// <inheritdoc cref="Check(MountRequest)" path="/exception"/>
    public void CheckPlace(string place) => files.CheckPlace(place);

    /// <summary>Checks an address that a disk is published at.</summary>
    /// <inheritdoc cref="Check(MountRequest)" path="/exception"/>
    public void Check(ListenRequest request)
    {
        sockets.CheckAddress(request.ListenUri);
        Check(request.Tls);
    }

    /// <summary>Checks the socket of a QEMU's monitor, or of a guest's agent.</summary>
    /// <inheritdoc cref="Check(MountRequest)" path="/exception"/>
    public void CheckSocket(string path) => sockets.Check(path);

    /// <summary>Checks the monitor's socket of a guest's disk; a mounted disk has none.</summary>
    /// <inheritdoc cref="Check(MountRequest)" path="/exception"/>
    public void Check(DiskReference disk)
    {
        if (disk.QmpSocketPath is { } path)
        {
            CheckSocket(path);
        }
    }

    /// <summary>Checks a session's disks, its temp image, and the sockets of its guest's agent and NBD server.</summary>
    /// <inheritdoc cref="Check(MountRequest)" path="/exception"/>
    public void Check(SessionRequest request)
    {
        foreach (DiskReference disk in request.Disks)
        {
            Check(disk);
        }

        if (request.Quiesce?.AgentSocketPath is { } agent)
        {
            CheckSocket(agent);
        }

        if (request.NbdServerUri is { } server)
        {
            sockets.CheckAddress(server);
        }

        if (request.TempPath is { } path)
        {
            CheckImage(path);
        }

        Check(request.Tls);
    }

    private void CheckImage(string address) => (NbdUri.IsUri(address) ? sockets : files).CheckAddress(address);

    private void Check(TlsFiles? tls)
    {
        foreach (string path in (tls?.AuthorityPaths ?? []).Append(tls?.CertificatePath).OfType<string>())
        {
            files.Check(path);
        }
    }
}
