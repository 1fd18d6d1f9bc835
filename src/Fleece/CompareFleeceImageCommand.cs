// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Sessions.Offline;

namespace Fleece;

/// <summary>Compare-FleeceImage: tells whether two images hold the same bytes.</summary>
[Cmdlet(VerbsData.Compare, "FleeceImage")]
[OutputType(typeof(ImageComparison))]
public sealed class CompareFleeceImageCommand : NetworkCommand
{
    private ImageComparer? _comparer;

    /// <summary>The one image, or an NBD URI.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [Alias("PSPath", "FullName", "LiteralPath")]
    public string Path { get; set; } = string.Empty;

    /// <summary>The other image, or an NBD URI.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string DifferencePath { get; set; } = string.Empty;

    /// <summary>The format of the one, where the content must not decide it.</summary>
    [Parameter]
    public ImageFormat? Format { get; set; }

    /// <summary>The format of the other, where the content must not decide it.</summary>
    [Parameter]
    public ImageFormat? DifferenceFormat { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path, () =>
    {
        ImageSource first = Open(Path, Format);
        ImageSource other = OpenOther(first);
        _comparer = new ImageComparer(first, other);
        try
        {
            TellWarning(first);
            TellWarning(other);
            ByteProgress progress = new(this, $"Comparing {first.Id}", _comparer.SizeBytes);
            while (Wait(_comparer.StepAsync(StopToken)))
            {
                progress.Report(_comparer.ComparedBytes);
            }

            progress.Complete();
            WriteObject(_comparer.Result);
        }
        finally
        {
            Close();
        }
    });

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Close();
        }

        base.Dispose(disposing);
    }

    private void TellWarning(ImageSource image)
    {
        if (image.TakeWarning() is { } warning)
        {
            WriteWarning(warning);
        }
    }

    private ImageSource OpenOther(ImageSource first)
    {
        try
        {
            return Open(DifferencePath, DifferenceFormat);
        }
        catch
        {
            Wait(first.DisposeAsync());
            throw;
        }
    }

    private ImageSource Open(string address, ImageFormat? format)
    {
        string resolved = ResolveAddress(address);
        return Wait(ImageSource.OpenAsync(
            resolved, new ImageOpenOptions { Format = format }, NbdUri.IsUri(resolved) ? ClientTls : null, StopToken));
    }

    private void Close()
    {
        if (_comparer is { } comparer)
        {
            _comparer = null;
            Wait(comparer.DisposeAsync());
        }
    }
}
