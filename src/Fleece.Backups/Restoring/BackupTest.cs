// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;

namespace Fleece.Backups.Restoring;

/// <summary>Examines one backup file: whether it is there and the one that was made; deep, whether it holds what was backed up.</summary>
/// <remarks>
/// <para>A point is good when its file and those it builds on are; deep, that is a restore to nowhere.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="Report"/>.</para>
/// </remarks>
internal sealed class BackupTest : IAsyncDisposable
{
    private readonly Repository _repository;
    private readonly BackupPoint _point;
    private readonly bool _isDeep;
    private readonly BackupReport? _cause;
    private readonly List<BackupFinding> _findings = [];
    private ContentReader? _reader;
    private bool _isBegun;
    private bool _isMapCompared;
    private int _next;

    /// <summary>Prepares a test of a repository's point.</summary>
    /// <param name="repository">The repository.</param>
    /// <param name="point">The point.</param>
    /// <param name="isDeep">True to compare all digests.</param>
    /// <param name="cause">The report of a backup that the point builds on and that is not good, so that the point is not either; null
    /// when there is none.</param>
    public BackupTest(Repository repository, BackupPoint point, bool isDeep, BackupReport? cause = null)
    {
        ArgumentNullException.ThrowIfNull(repository);
        ArgumentNullException.ThrowIfNull(point);
        _repository = repository;
        _point = point;
        _isDeep = isDeep;
        _cause = cause;
    }

    /// <summary>Bytes of data to compare.</summary>
    public long DataBytes => _isDeep ? _point.DataBytes : 0;

    /// <summary>Bytes of data that were compared.</summary>
    public long CheckedBytes { get; private set; }

    /// <summary>What was found.</summary>
    public BackupReport Report => new()
    {
        Path = _point.Path,
        Number = _point.Number,
        Instant = _point.Instant,
        Kind = _point.Kind,
        IsDeep = _isDeep,
        IsSealed = _point.IsSealed,
        CheckedBytes = CheckedBytes,
        Findings = _findings,
    };

    /// <summary>The points that must be good for one to be: itself and those it builds on, newest first.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/></exception>
    public static IReadOnlyList<BackupPoint> ChainOf(Repository repository, BackupPoint point)
    {
        ArgumentNullException.ThrowIfNull(repository);
        ArgumentNullException.ThrowIfNull(point);
        return [.. repository.ChainOf(point.Manifest).Select(manifest => new BackupPoint(repository.Path, manifest))];
    }

    /// <summary>Examines the next piece; false when there is nothing left to learn.</summary>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            if (!_isBegun)
            {
                _isBegun = true;
                AddCause();
                await BeginAsync(cancellationToken).ConfigureAwait(false);
                return _reader is not null;
            }

            if (_reader is not null && !_isMapCompared)
            {
                _isMapCompared = true;
                await _repository.Images.CheckMapAsync(_point.Manifest, _reader, cancellationToken).ConfigureAwait(false);
                return true;
            }

            if (_reader is null || _next == _point.Manifest.Content.Count || _findings.Count >= BackupReport.MaximumFindings)
            {
                return false;
            }

            ContentExtent extent = _point.Manifest.Content[_next++];
            await _reader.CheckAsync(extent, cancellationToken).ConfigureAwait(false);
            CheckedBytes += extent.IsZero ? 0 : extent.Range.LengthBytes;
            return true;
        }
        catch (BlockException e)
        {
            _findings.Add(new BackupFinding(e.Kind, e.Message, e.OffsetBytes));
            return _reader is not null;
        }
    }

    /// <summary>Closes the file. Idempotent.</summary>
    public ValueTask DisposeAsync() => _reader?.DisposeAsync() ?? default;

    private void AddCause()
    {
        if (_cause is { Findings: [var finding, ..] })
        {
            _findings.Add(new BackupFinding(
                finding.Kind, $"It builds on the backup {_cause.Number}, which is not good: {finding.Message}", finding.OffsetBytes));
        }
    }

    private async ValueTask BeginAsync(CancellationToken cancellationToken)
    {
        Manifest manifest = _point.Manifest;
        IReadOnlyList<Manifest> chain = _repository.ChainOf(manifest);
        ContentReader reader = await _repository.Images.OpenAsync(manifest, cancellationToken).ConfigureAwait(false);
        bool isKept = false;
        try
        {
            if (manifest.State == PointState.Kept && !_repository.Images.HoldsItsParent(manifest))
            {
                _point.CheckFile(); // During a merge the manifest follows the file.
            }

            if (manifest is { IsSingleFile: false, ParentId: null })
            {
                _ = RestorePlan.Make(chain, new BlockRange(0, manifest.SizeBytes), _point.Path);
            }

            isKept = _isDeep;
        }
        finally
        {
            if (isKept)
            {
                _reader = reader;
            }
            else
            {
                await reader.DisposeAsync().ConfigureAwait(false);
            }
        }
    }
}
