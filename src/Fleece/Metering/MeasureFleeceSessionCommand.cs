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

    /// <summary>The disk.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    [Alias("DiskName")]
    public DiskReference Disk { get; set; } = null!;

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

    /// <summary>The unit of copying.</summary>
    [Parameter]
    [ValidatePowerOfTwo(512, 2 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int? GranuleSizeBytes { get; set; }

    /// <summary>Most old data that temp could hold: the output says when it would be full.</summary>
    [Parameter]
    [ValidateRange(1, long.MaxValue)]
    public long? TempLimitBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk.Name, () =>
    {
        Task<SessionMeasurement> measuring = Owner.Metrics.MeasureSessionAsync(
            Same(FindDisk(Disk)),
            new MeasureRequest
            {
                Duration = Duration,
                Bitmap = Bitmap,
                GranuleSizeBytes = GranuleSizeBytes,
                TempLimitBytes = TempLimitBytes,
            },
            StopToken).AsTask();
        ProgressRecord progress = new(ProgressActivity, "Measuring", Disk.Name);
        DateTime startedAt = DateTime.UtcNow;
        while (Wait(new ValueTask<Task>(Task.WhenAny(measuring, Task.Delay(ProgressTime, StopToken)))) != measuring)
        {
            double share = (DateTime.UtcNow - startedAt) / Duration;
            progress.PercentComplete = (int)Math.Clamp(share * 100, 0, 100);
            WriteProgress(progress);
        }

        progress.RecordType = ProgressRecordType.Completed;
        WriteProgress(progress);
        WriteObject(Wait(new ValueTask<SessionMeasurement>(measuring)));
    });
}
