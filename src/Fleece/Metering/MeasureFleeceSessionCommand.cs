// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Measure-FleeceSession: a dry run that says what a session over a time would copy, without copying anything.</summary>
[Cmdlet(VerbsDiagnostic.Measure, "FleeceSession")]
[OutputType(typeof(SessionMeasurement))]
public sealed class MeasureFleeceSessionCommand : FleeceCommand
{
    private const int ProgressActivity = 1;
    private static readonly TimeSpan ProgressTime = TimeSpan.FromMilliseconds(500);

    private readonly List<(DiskInfo Disk, BitmapReference? Bitmap)> _disks = [];

    /// <summary>The disks' names, or the disks, or bitmaps of them, as with -Bitmap. All of them, piped or listed, are measured at the same
    /// time.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    [Alias("DiskName")]
    public DiskReference[] Disk { get; set; } = [];

    /// <summary>How long to measure, more than zero; a number means seconds.</summary>
    [Parameter(Position = 1)]
    [SecondsTransformation]
    public TimeSpan Duration { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>The bitmap that the session would be limited to.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference? Bitmap { get; set; }

    /// <summary>The unit of copying; as of a session when left out.</summary>
    [Parameter]
    [ValidatePowerOfTwo(512, 2 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int? GranuleSizeBytes { get; set; }

    /// <summary>Most old data that temp could hold, at least one granule: the output says when it would be full.</summary>
    [Parameter]
    [ValidateRange(512, long.MaxValue)]
    public long? TempLimitBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference disk in Disk)
        {
            ForItem(disk.Name, () => _disks.Add((FindDisk(disk), Bitmap ?? disk.Bitmap)));
        }
    }

    /// <inheritdoc/>
    protected override void EndProcessing()
    {
        if (_disks.Count == 0)
        {
            return;
        }

        // A neighbour that ends the pipeline at the first output ends the measuring of the others too.
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(StopToken);
        try
        {
            WriteAll(_disks.ConvertAll(item => (item.Disk.Name, MeasureAsync(item.Disk, item.Bitmap, ending.Token))));
        }
        finally
        {
            ending.Cancel();
        }
    }

    private Task<SessionMeasurement> MeasureAsync(DiskInfo disk, BitmapReference? bitmap, CancellationToken cancellationToken)
    {
        MeasureRequest request = new()
        {
            Duration = Duration,
            Bitmap = bitmap,
            GranuleSizeBytes = GranuleSizeBytes,
            TempLimitBytes = TempLimitBytes,
        };
        return Owner.Metrics.MeasureSessionAsync(Same(disk), request, cancellationToken).AsTask();
    }

    // Each as soon as it is there: an error need not wait for the others.
    private void WriteAll(List<(string Disk, Task<SessionMeasurement> Measuring)> running)
    {
        ProgressRecord progress = new(ProgressActivity, "Measuring", string.Join(", ", running.Select(disk => disk.Disk)));
        DateTime startedAt = DateTime.UtcNow;
        while (running.Count != 0)
        {
            Task[] awaited = [.. running.Select(disk => disk.Measuring), Task.Delay(ProgressTime, StopToken)];
            Wait(new ValueTask<Task>(Task.WhenAny(awaited)));
            List<(string Disk, Task<SessionMeasurement> Measuring)> ended = running.FindAll(disk => disk.Measuring.IsCompleted);
            running.RemoveAll(ended.Contains);
            foreach ((string disk, Task<SessionMeasurement> measuring) in ended)
            {
                ForItem(disk, () => WriteObject(Wait(new ValueTask<SessionMeasurement>(measuring))));
            }

            progress.PercentComplete = (int)Math.Clamp((DateTime.UtcNow - startedAt) / Duration * 100, 0, 100);
            progress.RecordType = running.Count == 0 ? ProgressRecordType.Completed : ProgressRecordType.Processing;
            WriteProgress(progress);
        }
    }
}
