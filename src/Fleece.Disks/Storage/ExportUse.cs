// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Disks.Storage;

/// <summary>How an export is used.</summary>
internal enum ExportUsage
{
    /// <summary>The bytes are a disk's own, and are only read.</summary>
    ReadDisk,

    /// <summary>The bytes are a disk's own.</summary>
    WriteDisk,

    /// <summary>An image lies there, and is only read.</summary>
    ReadImage,

    /// <summary>An image lies there.</summary>
    WriteImage,

    /// <summary>All of it is overwritten, or repaired.</summary>
    Overwrite,
}

/// <summary>A use of an export by this process. Nothing locks an export, so this is the lock among the disks, temp images, backups and
/// repairs of one process.</summary>
/// <remarks>
/// <para>Two uses of one export go together when both only read, and when both are raw disks, whose guests share it as QEMU's do.</para>
/// <para>Threading. All members are safe from any thread. A use lasts until it is disposed, after the last request.</para>
/// </remarks>
internal sealed class ExportUse : IDisposable
{
    private static readonly Lock Gate = new();
    private static readonly List<ExportUse> Uses = [];

    private readonly NbdUri _uri;
    private readonly ExportUsage _usage;
    private readonly string _user;
    private readonly HashSet<ExportPlace> _places;

    private ExportUse(NbdUri uri, ExportIdentity? identity, ExportUsage usage, string user)
    {
        _uri = uri;
        _usage = usage;
        _user = user;
        _places = [ExportPlace.Of(uri)];
        if (ExportPlace.Of(uri, identity) is { } disk)
        {
            _places.Add(disk);
        }
    }

    private bool IsReading => _usage is ExportUsage.ReadDisk or ExportUsage.ReadImage;

    private bool IsDisk => _usage is ExportUsage.ReadDisk or ExportUsage.WriteDisk;

    /// <summary>Begins a use, before the first request.</summary>
    /// <param name="uri">The export.</param>
    /// <param name="identity">What its server tells of it, by which it is known under other names; null for nothing.</param>
    /// <param name="usage">How it is used.</param>
    /// <param name="user">The user, as a message calls it: "the disk 'vm'".</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/></exception>
    public static ExportUse Begin(NbdUri uri, ExportIdentity? identity, ExportUsage usage, string user)
    {
        ExportUse use = new(uri, identity, usage, user);
        lock (Gate)
        {
            use.Check();
            Uses.Add(use);
        }

        return use;
    }

    /// <summary>Ends the use. Idempotent.</summary>
    public void Dispose()
    {
        lock (Gate)
        {
            Uses.Remove(this);
        }
    }

    // Under the gate.
    private void Check()
    {
        foreach (ExportUse other in Uses)
        {
            if (!other._places.Overlaps(_places) || (IsReading && other.IsReading) || (IsDisk && other.IsDisk))
            {
                continue;
            }

            string address = other._uri == _uri ? string.Empty : $", as '{other._uri}'";
            throw new BlockException(
                BlockErrors.InUse,
                $"'{_uri}' can't be used for {_user}: {other._user} of this process uses the export{address}, and one of the two would " +
                "change it beneath the other. End that use first, a disk's with Dismount-FleeceDisk, or name another export.",
                _uri.ToString(),
                operation: "connect");
        }
    }
}
