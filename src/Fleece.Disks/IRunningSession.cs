// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks;

/// <summary>A session that runs in this process: of a disk of its own, or of a guest's disk that QEMU serves.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal interface IRunningSession : IFleeceSession
{
    /// <summary>The session's name, unique on its disk.</summary>
    string Name { get; }

    /// <summary>The identity of the instant, which its backups are known by.</summary>
    Guid InstantId { get; }

    /// <summary>Cancelled when the session has ended.</summary>
    CancellationToken Ended { get; }

    /// <summary>The session as it is now.</summary>
    SessionInfo Describe();

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    bool IsCalled(string name);

    /// <summary>The snapshot, or the view of it that one of the session's consumers has.</summary>
    /// <param name="consumer">The consumer; null for none.</param>
    /// <param name="discards">True for a reader that discards what it has finished with.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.ConsumerUnknown"/>.</exception>
    ISnapshotSource GetSource(string? consumer, bool discards);

    /// <summary>The views of the snapshot whose readers confirm ranges: that of the named consumer or of all, and those of the session's
    /// consumers.</summary>
    IReadOnlyList<ISnapshotSource> GetViews(string? consumer);

    /// <summary>The run of the snapshot, or of a consumer's view of it, that begins at an offset.</summary>
    SnapshotRun GetRun(string? consumer, long offsetBytes);

    /// <summary>The snapshot as an NBD server offers it; it ends with the session.</summary>
    /// <param name="consumer">The consumer whose view it is; null for none.</param>
    /// <param name="exportName">The export's name.</param>
    /// <param name="isReadOnly">True to refuse discards.</param>
    NbdExport ExportAs(string? consumer, string exportName, bool isReadOnly);
}
