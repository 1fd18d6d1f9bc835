// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;

namespace Fleece.Disks;

/// <summary>A disk that can be fleeced, wherever it is served: its bitmaps are listed, and sessions of it begun.</summary>
/// <remarks>
/// <para>A session that another process has begun, and that this one may not end, is no more than an <see cref="ISnapshotSource"/>.
/// </para>
/// <para>Threading. All members are safe from any thread. Errors. <see cref="BlockException"/>; a call that fails has changed nothing.
/// </para>
/// </remarks>
internal interface IFleeceable
{
    /// <summary>The disk's name.</summary>
    string Name { get; }

    /// <summary>True when others write to the disk past its sessions, so that no bitmap records all changes.</summary>
    bool IsShared { get; }

    /// <summary>True when the disk does not change, so that no bitmap records anything.</summary>
    bool IsReadOnly { get; }

    /// <summary>How long bitmaps last.</summary>
    BitmapLifetime BitmapsLast { get; }

    /// <summary>The bitmaps, sorted by name: the disk's own, and those of parent images whose names the disk has not.</summary>
    ValueTask<IReadOnlyList<BitmapDescription>> ListBitmapsAsync(CancellationToken cancellationToken);

    /// <summary>Makes a bitmap that records from now on.</summary>
    ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken);

    /// <summary>Empties a bitmap of the disk's own and lets it record from now on. One that was not trusted is from now on.</summary>
    /// <param name="exactName">Its <see cref="BitmapDescription.ExactName"/>.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken);

    /// <summary>Forgets a bitmap of the disk's own that no session uses.</summary>
    /// <param name="exactName">Its <see cref="BitmapDescription.ExactName"/>.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    ValueTask RemoveBitmapAsync(string exactName, CancellationToken cancellationToken);

    /// <summary>Begins a session at an instant between the call and its return.</summary>
    ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken);

    /// <summary>Makes durable what the disk was given. Storage that has lost writes says so: what was read of it may be neither the old
    /// bytes nor the new ones.</summary>
    ValueTask FlushAsync(CancellationToken cancellationToken);
}

/// <summary>A session that this process has begun and ends.</summary>
internal interface IFleeceSession : ISnapshotSource
{
    /// <summary>Ends the session. Idempotent; the first call decides.</summary>
    /// <param name="isSuccess">True when what was to be read has been read: the session's bitmap then holds what was recorded since the
    /// instant. Otherwise, and for a session that broke, it holds that beside what it had.</param>
    /// <returns>True when the bitmap counts from the session's instant, and when the session has none.</returns>
    ValueTask<bool> EndAsync(bool isSuccess);
}
