// SPDX-License-Identifier: MIT
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Backups.Restoring;

/// <summary>An export of an NBD server that a point is restored to.</summary>
/// <remarks>
/// It has no other name meanwhile and no place for a note: what it held is being replaced from the first write on, nobody can tell how
/// much of it, and a restore that was interrupted begins anew. What lies behind the disk's end stays as it was.
/// </remarks>
internal sealed class RestoreExport(IBlockNode image) : IRestoreTarget
{
    public IBlockNode Image => image;

    public bool ReadsAsZero => false;

    public int ResumedSteps => 0;

    public string? Note => null;

    /// <summary>Connects and checks that the disk fits.</summary>
    /// <inheritdoc cref="ExportTarget.ConnectAsync" path="/exception"/>
    public static async ValueTask<RestoreExport> ConnectAsync(
        RestoreOptions options, RestorePlan plan, CancellationToken cancellationToken) =>
        new((await ExportTarget.ConnectAsync(
            options.DestinationUri!,
            new NbdNodeOptions { Tls = options.Tls },
            plan.Range.LengthBytes,
            options.Overwrite,
            mustVerify: false,
            cancellationToken).ConfigureAwait(false)).Image);

    public ValueTask MakeDurableAsync(int steps, CancellationToken cancellationToken) => Image.FlushAsync(cancellationToken);

    public ValueTask CompleteAsync() => Image.DisposeAsync();

    public ValueTask AbandonAsync(int steps) => Image.DisposeAsync();
}
